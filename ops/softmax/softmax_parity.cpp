#include <algorithm>

#include "ophis/core/simd.hpp"
#include "ops/parity/problem.hpp"
#include "ops/softmax/softmax_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor SoftmaxArgs::*> tensors_of() {
  return {&SoftmaxArgs::x, &SoftmaxArgs::out};
}

namespace {

struct Case {
  const char* name;
  Dims shape;
  Layout layout;
  double low, high;
};

const Case cases[] = {
    {"one element", {3, 1}, {}, -4, 4},          {"a vector of 15", {15}, {}, -4, 4},
    {"rows of 16", {2, 16}, {}, -4, 4},          {"rows of 17, slice", {3, 17}, {{}, 5}, -4, 4},
    {"rows of 1000", {2, 2, 1000}, {}, -4, 4},   {"rows of 1024", {2, 1024}, {}, -4, 4},
    {"rows of 1025", {2, 1025}, {}, -60, 60},    {"rows of 65, strided", {4, 65}, {{1, 0}, 3}, -4, 4},
    {"one row of 5000", {1, 5000}, {}, -20, 20}, {"no rows", {0, 9}, {}, -4, 4},
};

}  // namespace

void check_softmax(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<SoftmaxArgs>> problems;
    for (const Case& c : cases) {
      for (const bool log : {false, true}) {
        SoftmaxArgs args;
        args.x = pool.uniform(dtype, c.shape, c.low, c.high, c.layout);
        args.log = log;
        args.out = pool.poisoned(dtype, c.shape, c.layout);
        // The chain of additions in one lane of a block and then over blocks; exp twice, of arguments up to
        // high - low (its rounding) once.
        const double n = static_cast<double>(c.shape[c.shape.size() - 1]);
        const double chain = std::min(n, 1024.0) / native_pack_width + n / 1024.0;
        const double roundings = 0.5 * chain + 0.5 * (c.high - c.low) + 8.0;
        problems.push_back(
            {std::string(c.name) + (log ? ", log" : ""), args, {{"out", &SoftmaxArgs::out, roundings}}});
      }
    }
    return problems;
  };
  check_op("softmax", exec, softmax_impls(), softmax_reference, softmax, make_problems, report);
}

}  // namespace ophis::parity
