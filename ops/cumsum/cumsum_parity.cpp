#include <algorithm>

#include "ops/cumsum/cumsum_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor CumsumArgs::*> tensors_of() {
  return {&CumsumArgs::x, &CumsumArgs::out};
}

namespace {

struct Case {
  const char* name;
  Dims shape;
  int axis;
  bool reverse;
  Layout layout;
};

const Case cases[] = {
    {"length 1", {5, 1}, 1, false, {}},
    {"length 63, one row", {63}, 0, false, {}},
    {"length 64, strided slice", {7, 64}, -1, false, {{}, 3}},
    {"length 65, reverse", {2, 65, 19}, 1, true, {}},
    {"length 1000, rows dense", {2, 1000, 37}, 1, false, {}},
    {"length 1000, rows dense, strided slice", {1, 1000, 5}, 1, true, {{}, 11}},
    {"length 1000, transposed", {3, 1000, 5}, 1, false, {{0, 2, 1}, 0}},
    {"length 1000, many rows", {9, 1000, 10}, -2, true, {{1, 2, 0}, 0}},
    {"length 512, rank 4, first axis", {512, 2, 3, 2}, -4, false, {}},
    {"length 513, rank 4, last axis", {2, 3, 2, 513}, 3, false, {}},
    {"length 60000, one row", {60000}, 0, false, {}},
    {"length 60000, three rows, reverse", {60000, 3}, 0, true, {}},
    {"length 40000, three dense rows, reverse", {3, 40000}, 1, true, {}},
    {"length 4500000, one row", {4500000}, 0, false, {}},
};

Problem<CumsumArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  CumsumArgs args;
  // Sums that float16 can hold.
  const std::int64_t length = c.shape[c.axis < 0 ? c.axis + c.shape.size() : c.axis];
  const double largest = std::min(1.0, 6e4 / static_cast<double>(length));
  args.x = pool.uniform(dtype, c.shape, 0, largest, c.layout);
  args.axis = c.axis;
  args.reverse = c.reverse;
  args.out = pool.poisoned(dtype, c.shape, c.layout);
  // x is positive, so the largest output is the sum in the bound of CumsumArgs; a rounding is two unit
  // roundoffs.
  const std::int64_t last = args.x.extent(c.axis) - 1;
  const std::int64_t additions = std::min<std::int64_t>(last, 511) + last / 512;
  return {c.name, args, {{"out", &CumsumArgs::out, static_cast<double>(additions) / 2.0}}};
}

}  // namespace

void check_cumsum(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<CumsumArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    return problems;
  };
  check_op("cumsum", exec, cumsum_impls(), cumsum_reference, cumsum, make_problems, report);
}

}  // namespace ophis::parity
