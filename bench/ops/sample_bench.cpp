#include <numeric>

#include "bench/ops/cases.hpp"
#include "ops/sample/sample_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t batch, vocab;
  bool filtered;
};

Tensor filled(parity::TensorPool& pool, std::int64_t batch, float value) {
  return pool.uniform(DType::float32, {batch}, value, value);
}

Configuration<SampleArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  SampleArgs args;
  args.logits = pool.uniform(dtype, {s.batch, s.vocab}, -12, 12);
  args.temperature = filled(pool, s.batch, 0.75f);
  if (s.filtered) {
    args.top_k = pool.integers({s.batch}, std::vector(static_cast<std::size_t>(s.batch), 50), DType::int64);
    args.top_p = filled(pool, s.batch, 0.9f);
  }
  std::vector<std::int32_t> sequences(static_cast<std::size_t>(s.batch));
  std::iota(sequences.begin(), sequences.end(), 0);
  args.sequence = pool.integers({s.batch}, sequences, DType::int64);
  args.out = pool.poisoned(DType::int64, {s.batch});
  return {args, {{"out", &SampleArgs::out, 0.0}}, bytes_of({args.logits, args.out}), 0.0};
}

}  // namespace

Cases sample_cases() {
  const Op<SampleArgs> op{"sample", sample_impls, sample_reference, sample};
  Cases cases;
  for (const auto& [batch, vocab] : {std::pair{1, 50280}, {64, 50280}, {1, 256000}}) {
    for (const bool filtered : {false, true}) {
      add_case(cases, op,
               detail::concat("batch ", batch, ", vocab ", vocab, filtered ? ", top-k 50, top-p 0.9" : ""),
               make, Shape{batch, vocab, filtered}, Shape{1, vocab, filtered});
    }
  }
  return cases;
}

}  // namespace ophis::bench
