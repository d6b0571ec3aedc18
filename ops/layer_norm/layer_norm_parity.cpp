#include "ophis/core/simd.hpp"
#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor LayerNormArgs::*> tensors_of() {
  return {&LayerNormArgs::x,        &LayerNormArgs::weight,       &LayerNormArgs::bias,
          &LayerNormArgs::residual, &LayerNormArgs::residual_out, &LayerNormArgs::out};
}

namespace {

struct Case {
  const char* name;
  Dims shape;
  Layout layout;
  double low, high;  // of x
  bool parameters, residual, float32_residual;
  bool float32_x = false;
};

const Case cases[] = {
    {"one element", {3, 1}, {}, -2, 2, true, false, false},
    {"a vector of 15", {15}, {}, -2, 2, true, true, false},
    {"dim 16, no parameters", {2, 3, 16}, {{}, 5}, -2, 2, false, false, false},
    {"dim 17, residual", {2, 3, 17}, {{}, 5}, -2, 2, true, true, false},
    {"dim 64, strided rows", {2, 3, 64}, {{0, 2, 1}, 3}, -2, 2, true, false, false},
    {"dim 1000, residual in float32", {3, 1000}, {}, -2, 2, true, true, true},
    {"dim 1000, far from zero", {3, 1000}, {}, 30, 34, true, false, false},
    {"dim 80, x in float32", {5, 80}, {}, -2, 2, true, false, false, true},
    {"no rows", {0, 8}, {}, -2, 2, true, true, true},
};

Problem<LayerNormArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  const Dims dim{c.shape[c.shape.size() - 1]};
  const DType residual_dtype = c.float32_residual ? DType::float32 : dtype;
  LayerNormArgs args;
  args.x = pool.uniform(c.float32_x ? DType::float32 : dtype, c.shape, c.low, c.high, c.layout);
  if (c.parameters) {
    args.weight = pool.uniform(dtype, dim, 0.5, 1.5);
    args.bias = pool.uniform(DType::float32, dim, -1, 1, {{}, 3});
  }
  if (c.residual) {
    args.residual = pool.uniform(residual_dtype, c.shape, -2, 2, c.layout);
    args.residual_out = pool.poisoned(residual_dtype, c.shape, c.layout);
  }
  args.out = pool.poisoned(dtype, c.shape, c.layout);
  // The chain of additions in one lane of the mean, in units of the deviation, and of the variance.
  const double chain = static_cast<double>(dim[0]) / native_pack_width;
  const double roundings = (0.5 * c.high + 0.25) * chain + 0.5 * c.high + 8.0;
  return {c.name,
          args,
          {{"out", &LayerNormArgs::out, roundings}, {"residual_out", &LayerNormArgs::residual_out, 1.0}}};
}

}  // namespace

void check_layer_norm(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<LayerNormArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    return problems;
  };
  check_op("layer_norm", exec, layer_norm_impls(), layer_norm_reference, layer_norm, make_problems, report);
}

}  // namespace ophis::parity
