#include <algorithm>

#include "ophis/core/simd.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor CrossEntropyArgs::*> tensors_of() {
  return {&CrossEntropyArgs::logits, &CrossEntropyArgs::labels, &CrossEntropyArgs::losses};
}

namespace {

struct Case {
  const char* name;
  Dims rows;
  std::int64_t vocab;
  Layout layout;
  double high;  // logits are in [-high, high)
};

const Case cases[] = {
    {"vocab 1", {3}, 1, {}, 4},
    {"vocab 15", {5}, 15, {}, 4},
    {"vocab 16, rank 3", {2, 3}, 16, {}, 4},
    {"vocab 17, slice", {4}, 17, {{}, 5}, 4},
    {"vocab 1000", {6}, 1000, {}, 4},
    {"vocab 65, strided", {4}, 65, {{1, 0}, 3}, 4},
    {"vocab 4097", {3}, 4097, {}, 30},
    {"no rows", {0}, 9, {}, 4},
};

Problem<CrossEntropyArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  Dims shape = c.rows;
  shape.push_back(c.vocab);
  const std::int64_t rows = element_count(c.rows);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < rows; ++i) labels.push_back(static_cast<std::int32_t>(i * 97 % c.vocab));
  if (rows > 4) labels[4] = -100;
  CrossEntropyArgs args;
  args.logits = pool.uniform(dtype, shape, -c.high, c.high, c.layout);
  args.labels = pool.integers(c.rows, labels, DType::int64);
  args.losses = pool.poisoned(DType::float32, c.rows);
  // As softmax's logarithm; the sum's relative error is the loss's absolute one, and no loss here is small.
  const double chain = std::min<double>(static_cast<double>(c.vocab), 1024.0) / native_pack_width;
  return {c.name, args, {{"losses", &CrossEntropyArgs::losses, 0.5 * chain + c.high + 8.0}}};
}

}  // namespace

void check_cross_entropy(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<CrossEntropyArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    return problems;
  };
  check_op("cross_entropy", exec, cross_entropy_impls(), cross_entropy_reference, cross_entropy,
           make_problems, report);
}

}  // namespace ophis::parity
