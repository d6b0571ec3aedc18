#include "ops/embedding/embedding_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor EmbeddingArgs::*> tensors_of() {
  return {&EmbeddingArgs::ids, &EmbeddingArgs::weight, &EmbeddingArgs::weight_scale,
          &EmbeddingArgs::weight_shift, &EmbeddingArgs::out};
}

namespace {

struct Case {
  const char* name;
  std::int64_t dim;
  DType ids, out;  // out float64: that of the weight
  Layout layout;
};

const Case cases[] = {
    {"dim 1", 1, DType::int64, DType::float64, {}},
    {"dim 15, int32", 15, DType::int32, DType::float64, {}},
    {"dim 16, float32 out", 16, DType::int64, DType::float32, {}},
    {"dim 17, slices", 17, DType::int64, DType::float64, {{}, 3}},
    {"dim 1000, bfloat16 out", 1000, DType::int64, DType::bfloat16, {}},
    {"dim 40, columns dense", 40, DType::int32, DType::float16, {{1, 0}, 2}},
};

Problem<EmbeddingArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  EmbeddingArgs args;
  args.ids = pool.integers({2, 4}, {6, 0, 3, 3, 1, 2, 5, 4}, c.ids).transpose(0, 1);
  args.weight = pool.uniform(dtype, {7, c.dim}, -1, 1, c.layout);
  const Layout out_layout{{0, 1, 2}, c.layout.padding};
  args.out = pool.poisoned(c.out == DType::float64 ? dtype : c.out, {4, 2, c.dim}, out_layout);
  return {c.name, args, {{"out", &EmbeddingArgs::out, 0.0}}};
}

/// Rows of codes.
Problem<EmbeddingArgs> make_quantized_problem(TensorPool& pool, DType dtype, int bits, bool shift) {
  constexpr std::int64_t vocab = 7, dim = 144, groups = 3;
  EmbeddingArgs args;
  args.ids = pool.integers({2, 4}, {6, 0, 3, 3, 1, 2, 5, 4}, DType::int64);
  args.weight = pool.bytes({vocab, dim * bits / 8}, {{}, 5});
  args.weight_scale = pool.uniform(shift ? DType::float32 : DType::bfloat16, {vocab, groups}, 0.1, 0.2);
  if (shift) args.weight_shift = pool.uniform(DType::float32, {vocab, groups}, -1, 1);
  args.out = pool.poisoned(dtype, {2, 4, dim}, {{}, 3});
  return {detail::concat("int", bits, shift ? ", shifts" : ""), args, {{"out", &EmbeddingArgs::out, 3.0}}};
}

}  // namespace

void check_embedding(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<EmbeddingArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    problems.push_back(make_quantized_problem(pool, dtype, 8, false));
    problems.push_back(make_quantized_problem(pool, dtype, 4, true));
    return problems;
  };
  check_op("embedding", exec, embedding_impls(), embedding_reference, embedding, make_problems, report);
}

}  // namespace ophis::parity
