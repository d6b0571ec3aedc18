#include "bench/ops/cases.hpp"
#include "ops/embedding/embedding_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t tokens, vocab, dim;
};

Configuration<EmbeddingArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < s.tokens; ++i) ids.push_back(static_cast<std::int32_t>(i * 7919 % s.vocab));
  EmbeddingArgs args;
  args.ids = pool.integers({s.tokens}, ids, DType::int64);
  args.weight = pool.uniform(dtype, {s.vocab, s.dim}, -1, 1);
  args.out = pool.poisoned(dtype, {s.tokens, s.dim});
  return {args, {{"out", &EmbeddingArgs::out, 0.0}}, bytes_of({args.ids, args.out, args.out}), 0.0};
}

}  // namespace

Cases embedding_cases() {
  const Op<EmbeddingArgs> op{"embedding", embedding_impls, embedding_reference, embedding};
  Cases cases;
  add_case(cases, op, "tokens 2048, vocab 4096, dim 768", make, Shape{2048, 4096, 768}, Shape{64, 100, 768});
  return cases;
}

}  // namespace ophis::bench
