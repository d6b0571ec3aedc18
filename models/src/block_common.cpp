#include "models/src/block_common.hpp"

#include <cmath>

#include "ophis/core/copy.hpp"
#include "ophis/ops/causal_conv1d.hpp"
#include "ophis/ops/mask_positions.hpp"

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

void step_conv(ExecContext& exec, const Tensor& x, const Parameter& weight, const Parameter& bias,
               Activation activation, const BlockState& state, const Tensor& out) {
  CausalConv1dUpdateArgs args;
  args.x = x;
  args.conv_state = state.conv();
  args.weight = weight.tensor;
  args.bias = bias.tensor;
  args.activation = activation;
  args.out = out;
  causal_conv1d_update(exec, args);
}

}  // namespace ophis
