#include "ophis/core/simd.hpp"
#include "ops/parity/problem.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor RmsNormArgs::*> tensors_of() {
  return {&RmsNormArgs::x, &RmsNormArgs::weight,       &RmsNormArgs::bias, &RmsNormArgs::residual,
          &RmsNormArgs::z, &RmsNormArgs::residual_out, &RmsNormArgs::out};
}

namespace {

const Layout slice{{0, 1, 2}, 5};
const Layout transposed{{0, 2, 1}, 3};

enum class Gate { none, before_norm, after_norm };

struct Case {
  const char* name;
  Dims shape;
  Layout layout;
  bool weight, bias, residual, float32_residual;
  Gate gate;
  std::int64_t group_size;
  bool float32_x = false;
};

const Case cases[] = {
    {"one element", {3, 1}, {}, true, false, false, false, Gate::none, 0},
    {"a vector of 15", {15}, {}, true, true, true, false, Gate::none, 0},
    {"dim 16, no weight", {2, 3, 16}, slice, false, false, false, false, Gate::none, 0},
    {"dim 17, residual", {2, 3, 17}, slice, true, true, true, false, Gate::none, 0},
    {"dim 63, residual in float32", {1, 5, 63}, {}, true, false, true, true, Gate::none, 0},
    {"dim 64, strided rows, gate", {2, 3, 64}, transposed, true, true, false, false, Gate::before_norm, 0},
    {"dim 65, norm before gate", {2, 2, 65}, slice, true, true, false, false, Gate::after_norm, 0},
    {"dim 1000, residual in float32", {3, 1000}, {}, true, false, true, true, Gate::none, 0},
    {"dim 1000, everything", {2, 2, 1000}, slice, true, true, true, false, Gate::before_norm, 250},
    {"dim 37, x in float32", {3, 37}, {{}, 1}, true, false, false, false, Gate::none, 0, true},
    {"dim 256, x in float32, gate", {2, 256}, {}, true, true, false, false, Gate::before_norm, 0, true},
    {"groups of 5", {2, 3, 35}, slice, true, false, false, false, Gate::before_norm, 5},
    {"groups of 64, norm before gate", {2, 1, 2, 3, 192}, {}, true, true, false, false, Gate::after_norm, 64},
    {"no rows", {0, 8}, {}, true, true, true, true, Gate::none, 0},
};

Problem<RmsNormArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  const Dims dim{c.shape[c.shape.size() - 1]};
  const DType residual_dtype = c.float32_residual ? DType::float32 : dtype;
  RmsNormArgs args;
  args.x = pool.uniform(c.float32_x ? DType::float32 : dtype, c.shape, -2, 2, c.layout);
  if (c.weight) args.weight = pool.uniform(dtype, dim, 0.5, 1.5, {{}, 3});
  if (c.bias) args.bias = pool.uniform(DType::float32, dim, -1, 1);
  if (c.residual) {
    args.residual = pool.uniform(residual_dtype, c.shape, -2, 2, c.layout);
    args.residual_out = pool.poisoned(residual_dtype, c.shape, c.layout);
  }
  if (c.gate != Gate::none) args.z = pool.uniform(dtype, c.shape, -3, 3, c.layout);
  args.norm_before_gate = c.gate == Gate::after_norm;
  args.group_size = c.group_size;
  args.out = pool.poisoned(dtype, c.shape, c.layout);
  // The chain of additions in one lane, halved by the square root; the elementwise steps.
  const double group = static_cast<double>(c.group_size ? c.group_size : dim[0]);
  const double roundings = 0.25 * group / native_pack_width + 8.0;
  return {c.name,
          args,
          {{"out", &RmsNormArgs::out, roundings}, {"residual_out", &RmsNormArgs::residual_out, 1.0}}};
}

}  // namespace

void check_rms_norm(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<RmsNormArgs>> problems;
    for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
    return problems;
  };
  check_op("rms_norm", exec, rms_norm_impls(), rms_norm_reference, rms_norm, make_problems, report);
}

}  // namespace ophis::parity
