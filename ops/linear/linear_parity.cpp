#include "ops/linear/linear_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor LinearArgs::*> tensors_of() {
  return {&LinearArgs::x, &LinearArgs::weight, &LinearArgs::bias, &LinearArgs::out};
}

namespace {

enum class Bias { none, float32, same };  ///< of the same dtype as the other inputs

struct Case {
  const char* name;
  std::int64_t rows, in_features, out_features;
  Bias bias;
  bool float32_out, accumulate;
  std::int64_t padding;  ///< unused elements after each row of x, weight and out
};

const Case cases[] = {
    {"1 x 1 -> 1", 1, 1, 1, Bias::float32, false, false, 0},
    {"1 x 63 -> 65", 1, 63, 65, Bias::none, false, false, 0},
    {"4 x 64 -> 33", 4, 64, 33, Bias::float32, true, false, 0},
    {"5 x 65 -> 17", 5, 65, 17, Bias::float32, false, false, 3},
    {"17 x 100 -> 40", 17, 100, 40, Bias::none, true, false, 8},
    {"63 x 48 -> 1000", 63, 48, 1000, Bias::float32, false, false, 0},
    {"130 x 1000 -> 70", 130, 1000, 70, Bias::float32, false, false, 1},
    {"1 x 72 -> 40, added", 1, 72, 40, Bias::none, true, true, 0},
    {"3 x 800 -> 25, added", 3, 800, 25, Bias::float32, false, true, 8},
    {"18 x 64 -> 48, added", 18, 64, 48, Bias::none, true, true, 8},
    {"40 x 63 -> 33, added", 40, 63, 33, Bias::float32, false, true, 1},
    {"21 x 63 -> 33, bias of the dtype", 21, 63, 33, Bias::same, false, false, 0},
    {"64 x 96 -> 72, bias of the dtype", 64, 96, 72, Bias::same, false, false, 8},
    {"19 x 80 -> 40, bias of the dtype, float32 out", 19, 80, 40, Bias::same, true, false, 0},
    {"33 x 64 -> 48, bias of the dtype, added", 33, 64, 48, Bias::same, false, true, 0},
};

}  // namespace

void check_linear(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<LinearArgs>> problems;
    for (const Case& c : cases) {
      LinearArgs args;
      const Layout layout{{}, c.padding};
      args.x = pool.uniform(dtype, {c.rows, c.in_features}, -1, 1, layout);
      args.weight = pool.uniform(dtype, {c.out_features, c.in_features}, -1, 1, layout);
      if (c.bias != Bias::none) {
        const DType bias_dtype = c.bias == Bias::same ? dtype : DType::float32;
        args.bias = pool.uniform(bias_dtype, {c.out_features}, -1, 1);
      }
      const DType out_dtype = c.float32_out ? DType::float32 : dtype;
      const Dims out_shape{c.rows, c.out_features};
      args.accumulate = c.accumulate;
      args.out = c.accumulate ? pool.uniform(out_dtype, out_shape, -4, 4, layout)
                              : pool.poisoned(out_dtype, out_shape, layout);
      // A sum of n terms of either sign: errors add up like sqrt(n) roundings of the largest partial sum.
      const double roundings = 2.0 + std::sqrt(static_cast<double>(c.in_features));
      problems.push_back({c.name, args, {{"out", &LinearArgs::out, roundings, c.accumulate}}});
    }
    return problems;
  };
  check_op("linear", exec, linear_impls(), linear_reference, linear, make_problems, report);
}

}  // namespace ophis::parity
