#include "models/src/block_common.hpp"

#include <cmath>

#include "models/src/projection.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/ops/causal_conv1d.hpp"
#include "ophis/ops/mask_positions.hpp"
#include "ophis/ops/norm_linear.hpp"

namespace ophis {

void BlockState::reset(ExecContext& exec) {
  fill_with_zeros(exec, conv_memory);
  fill_with_zeros(exec, ssm);
}

Parameter load_conv_weight(const ParameterSource& source, std::int64_t dim, std::int64_t width) {
  Parameter parameter = require_parameter(source, "conv1d.weight", {dim, width});
  parameter.tensor = parameter.tensor.transpose(0, 1);
  Parameter dense = source.placement().put(own(convert(parameter.tensor, DType::float32)));
  dense.tensor = dense.tensor.transpose(0, 1);
  return dense;
}

Parameter load_A(const ParameterSource& source, const Dims& shape) {
  if (source.find("A")) return require_parameter(source, "A", shape, DType::float32);
  OwnedTensor A = convert(require_parameter(source, "A_log", shape).tensor, DType::float32);
  float* const values = A->data<float>();
  for (std::int64_t i = 0; i < A->count(); ++i) values[i] = -std::exp(values[i]);
  return source.placement().put(own(std::move(A)));
}

Parameter load_optional(bool wanted, const ParameterSource& source, const std::string& name,
                        const Dims& shape) {
  return wanted ? require_parameter(source, name, shape, DType::float32) : Parameter{};
}

BlockState make_block_state(ExecContext& exec, std::int64_t batch, std::int64_t conv_dim, std::int64_t d_conv,
                            DType dtype, DType ssm_dtype, const Dims& ssm_shape) {
  OPHIS_REQUIRE(ssm_dtype == DType::float32 || ssm_dtype == dtype,
                "a state must be float32 or, as the model, ", dtype, ", but ", ssm_dtype, " was asked for");
  BlockState state{OwnedTensor(dtype, {batch, d_conv - 1, conv_dim}, exec.device()),
                   OwnedTensor(ssm_dtype, ssm_shape, exec.device())};
  state.reset(exec);
  return state;
}

std::size_t bytes_of(std::initializer_list<const Weight*> weights,
                     std::initializer_list<const Parameter*> parameters) {
  std::size_t total = 0;
  for (const Weight* const weight : weights) total += weight->bytes();
  for (const Parameter* const parameter : parameters) total += parameter->tensor.bytes();
  return total;
}

Tensor masked_input(ExecContext& exec, const Tensor& x, const Tensor& attention_mask) {
  if (!attention_mask) return x;
  const Tensor input = exec.workspace().take_tensor(x.dtype(), x.shape());
  mask_positions(exec, {x, attention_mask, input});
  return input;
}

void run_conv(ExecContext& exec, const Tensor& x, const Parameter& weight, const Parameter& bias,
              Activation activation, const BlockState* state, const Tensor& out) {
  CausalConv1dArgs args;
  args.x = x;
  args.weight = weight.tensor;
  args.bias = bias.tensor;
  args.activation = activation;
  if (state) args.initial_states = args.final_states = state->conv();
  args.out = out;
  causal_conv1d(exec, args);
}

void project_step(ExecContext& exec, const StepInput& input, const StepProjection& projection,
                  const BlockState& state, const Tensor& out) {
  if (!input.norm_weight) {
    project(exec, input.x, projection.weight, projection.bias, out, true);
    CausalConv1dUpdateArgs conv;
    const std::int64_t dim = projection.conv_weight.tensor.extent(0);
    conv.x = conv.out = out.slice(1, projection.conv_begin, projection.conv_begin + dim);
    conv.conv_state = state.conv();
    conv.weight = projection.conv_weight.tensor;
    conv.bias = projection.conv_bias.tensor;
    conv.activation = projection.activation;
    return causal_conv1d_update(exec, conv);
  }
  NormLinearArgs args;
  args.x = input.x;
  args.norm_weight = input.norm_weight;
  args.eps = input.norm_epsilon;
  set_weight(args, projection.weight);
  args.bias = projection.bias.tensor;
  args.conv_state = state.conv();
  args.conv_weight = projection.conv_weight.tensor;
  args.conv_bias = projection.conv_bias.tensor;
  args.conv_activation = projection.activation;
  args.conv_begin = projection.conv_begin;
  args.out = out;
  norm_linear(exec, args);
}

}  // namespace ophis
