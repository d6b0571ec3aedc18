#include "ophis/ops/norm_linear.hpp"

#include <cmath>

#include "ops/common/quantized.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"

namespace ophis {
namespace {

void check_conv(const ArgumentChecker& check, const NormLinearArgs& args) {
  if (!args.conv_state) {
    OPHIS_REQUIRE(!args.conv_weight && !args.conv_bias,
                  "norm_linear: there is a conv_weight or conv_bias, but no conv_state");
    return;
  }
  check.given("conv_weight", args.conv_weight);
  check.rank("x", args.x, 2);
  check.rank("conv_weight", args.conv_weight, 2);
  check.rank("conv_state", args.conv_state, 3);
  const std::int64_t dim = args.conv_weight.extent(0), width = args.conv_weight.extent(1);
  OPHIS_REQUIRE(width >= 1 && args.conv_state.extent(2) >= width - 1, "norm_linear: conv_state is ",
                args.conv_state, ", but conv_weight ", args.conv_weight, " needs at least ", width - 1,
                " inputs");
  OPHIS_REQUIRE(args.conv_begin >= 0 && dim <= args.weight.extent(0) - args.conv_begin,
                "norm_linear: the convolution takes outputs ", args.conv_begin, " to ", args.conv_begin + dim,
                ", but there are ", args.weight.extent(0));
  const DType dtype = compute_dtype_of(args);
  check.activation("conv_state", args.conv_state, {args.x.extent(0), dim, args.conv_state.extent(2)}, dtype);
  check.parameter("conv_weight", args.conv_weight, {dim, width});
  check.parameter("conv_bias", args.conv_bias, {dim});
  check.dtype("out", args.out, dtype);
  OPHIS_REQUIRE(!args.accumulate, "norm_linear: a convolution cannot be added to what out holds");
}

}  // namespace

DType compute_dtype_of(const NormLinearArgs& args) {
  if (!args.weight_scale) return args.weight.dtype();
  return args.out.dtype() == DType::float32 ? args.x.dtype() : args.out.dtype();
}

RmsNormArgs norm_of(const NormLinearArgs& args, const Tensor& normed) {
  RmsNormArgs norm;
  norm.x = args.x;
  norm.weight = args.norm_weight;
  norm.eps = args.eps;
  norm.out = normed;
  return norm;
}

LinearArgs linear_of(const NormLinearArgs& args, const Tensor& normed) {
  return {normed, args.weight, args.bias, args.out, args.weight_is_constant, args.accumulate};
}

QuantizedLinearArgs quantized_linear_of(const NormLinearArgs& args, const Tensor& normed) {
  return {
      normed,          args.weight, args.weight_scale, args.weight_shift, args.bias, args.weight_is_constant,
      args.accumulate, args.out};
}

CausalConv1dUpdateArgs conv_of(const NormLinearArgs& args) {
  CausalConv1dUpdateArgs conv;
  conv.x = conv.out = args.out.slice(1, args.conv_begin, args.conv_begin + args.conv_weight.extent(0));
  conv.conv_state = args.conv_state;
  conv.weight = args.conv_weight;
  conv.bias = args.conv_bias;
  conv.activation = args.conv_activation;
  return conv;
}

void norm_linear_composed(ExecContext& exec, const NormLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor normed = exec.workspace().take_tensor(compute_dtype_of(args), args.x.shape());
  rms_norm(exec, norm_of(args, normed));
  if (args.weight_scale)
    quantized_linear(exec, quantized_linear_of(args, normed));
  else
    linear(exec, linear_of(args, normed));
  if (args.conv_state) causal_conv1d_update(exec, conv_of(args));
}

void norm_linear(ExecContext& exec, const NormLinearArgs& args) {
  const ArgumentChecker check("norm_linear", exec);
  check.given("x", args.x);
  check.given("weight", args.weight);
  check.given("out", args.out);
  check.rows("x", args.x);
  check.rank("weight", args.weight, 2);
  const Dims shape = args.x.shape();
  const DType dtype = compute_dtype_of(args);
  const std::int64_t in_features = args.x.extent(-1), out_features = args.weight.extent(0);
  if (!args.weight_scale) check.compute_dtype("weight", args.weight);
  check.shape("x", args.x, shape);
  check.dtype_or_float32("x", args.x, dtype);
  check.parameter("norm_weight", args.norm_weight, {in_features});
  OPHIS_REQUIRE(std::isfinite(args.eps) && args.eps >= 0.0, "norm_linear: eps is ", args.eps,
                ", but must be a finite number of at least 0");
  OPHIS_REQUIRE(args.weight_scale || !args.weight_shift,
                "norm_linear: there is a weight_shift, but no weight_scale");
  if (args.weight_scale)
    check_quantized(check, args.weight, args.weight_scale, args.weight_shift, out_features, in_features);
  else
    check.activation("weight", args.weight, {out_features, in_features}, dtype);
  check.parameter("bias", args.bias, {out_features});
  Dims out_shape = shape;
  out_shape[out_shape.size() - 1] = out_features;
  check.shape("out", args.out, out_shape);
  check.dtype_or_float32("out", args.out, dtype);
  for (const auto& [name, tensor] : {std::pair{"x", &args.x}, {"weight", &args.weight}, {"out", &args.out}}) {
    OPHIS_REQUIRE(tensor->extent(-1) <= 1 || tensor->stride(-1) == 1, "norm_linear: the last axis of ", name,
                  " must be dense, but its stride is ", tensor->stride(-1));
  }
  check_conv(check, args);
  if (args.x.count() == 0 || args.out.count() == 0) return;
  dispatch("norm_linear", norm_linear_impls(), exec, args);
}

}  // namespace ophis
