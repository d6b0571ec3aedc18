#include "ops/embedding/embedding_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor EmbeddingArgs::*> tensors_of() {
  return {&EmbeddingArgs::ids, &EmbeddingArgs::weight, &EmbeddingArgs::out};
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

}  // namespace

void check_embedding(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<EmbeddingArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    return problems;
  };
  check_op("embedding", exec, embedding_impls(), embedding_reference, embedding, make_problems, report);
}

}  // namespace ophis::parity
