#include <limits>

#include "ops/argmax/argmax_impl.hpp"
#include "ops/common/reference.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor ArgmaxArgs::*> tensors_of() {
  return {&ArgmaxArgs::x, &ArgmaxArgs::out};
}

namespace {

struct Case {
  const char* name;
  Dims rows;
  std::int64_t n;
  Layout layout;
};

const Case cases[] = {
    {"rows of 1", {3}, 1, {}},
    {"rows of 15", {5}, 15, {}},
    {"rows of 16", {2, 3}, 16, {}},
    {"rows of 17, slice", {6}, 17, {{}, 5}},
    {"rows of 1000", {6}, 1000, {}},
    {"rows of 65, strided", {4}, 65, {{1, 0}, 3}},
    {"rows of 4097", {2, 2}, 4097, {}},
    {"a vector of 50280", {}, 50280, {}},
    {"no rows", {0}, 9, {}},
};

/// Few distinct values, so that the largest comes more than once; the last row also holds two NaN.
Tensor make_rows(TensorPool& pool, DType dtype, const Case& c) {
  Dims shape = c.rows;
  shape.push_back(c.n);
  const Tensor x = pool.uniform(dtype, shape, -20, 20, c.layout);
  const Elements elements(x);
  for (std::int64_t i = 0; i < x.count(); ++i) elements.set_at(std::floor(elements.at(i)), i);
  if (x.count() > c.n) {
    const std::int64_t last_row = x.count() - c.n;
    for (const std::int64_t column : {c.n / 2, c.n - 1}) {
      elements.set_at(std::numeric_limits<double>::quiet_NaN(), last_row + column);
    }
  }
  return x;
}

}  // namespace

void check_argmax(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<ArgmaxArgs>> problems;
    for (const Case& c : cases) {
      ArgmaxArgs args;
      args.x = make_rows(pool, dtype, c);
      args.out = pool.poisoned(DType::int64, c.rows);
      problems.push_back({c.name, args, {{"out", &ArgmaxArgs::out, 0.0}}});
    }
    return problems;
  };
  check_op("argmax", exec, argmax_impls(), argmax_reference, argmax, make_problems, report);
}

}  // namespace ophis::parity
