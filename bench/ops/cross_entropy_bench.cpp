#include "bench/ops/cases.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, vocab;
};

Configuration<CrossEntropyArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < s.rows; ++i) labels.push_back(static_cast<std::int32_t>(i * 7919 % s.vocab));
  CrossEntropyArgs args;
  args.logits = pool.uniform(dtype, {s.rows, s.vocab}, -4, 4);
  args.labels = pool.integers({s.rows}, labels, DType::int64);
  args.losses = pool.poisoned(DType::float32, {s.rows});
  const double roundings = 64.0;  // a block's chain of additions, the chain of blocks, exp
  return {args,
          {{"losses", &CrossEntropyArgs::losses, roundings}},
          bytes_of({args.logits, args.labels, args.losses}),
          4.0 * static_cast<double>(args.logits.count())};
}

}  // namespace

Cases cross_entropy_cases() {
  const Op<CrossEntropyArgs> op{"cross_entropy", cross_entropy_impls, cross_entropy_reference, cross_entropy};
  Cases cases;
  add_case(cases, op, "rows 128, vocab 50280", make, Shape{128, 50280}, Shape{2, 50280});
  return cases;
}

}  // namespace ophis::bench
