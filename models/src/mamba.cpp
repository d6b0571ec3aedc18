#include "models/src/block_common.hpp"
#include "models/src/initialization.hpp"
#include "models/src/projection.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/mask_positions.hpp"
#include "ophis/ops/selective_scan.hpp"

namespace ophis {

Mamba::Mamba(const MambaConfig& config, const ParameterSource& source, DType dtype)
    : m_config(config),
      m_dtype(dtype),
      m_in_proj(require_weight(source, "in_proj", {2 * config.d_inner, config.d_model}, dtype)),
      m_in_proj_bias(load_optional(config.bias, source, "in_proj.bias", {2 * config.d_inner})),
      m_conv(load_conv_weight(source, config.d_inner, config.d_conv)),
      m_conv_bias(load_optional(config.conv_bias, source, "conv1d.bias", {config.d_inner})),
      m_x_proj(
          require_weight(source, "x_proj", {config.dt_rank + 2 * config.d_state, config.d_inner}, dtype)),
      m_dt_proj(require_parameter(source, "dt_proj.weight", {config.d_inner, config.dt_rank}, dtype)),
      m_dt_bias(require_parameter(source, "dt_proj.bias", {config.d_inner}, DType::float32)),
      m_A(load_A(source, {config.d_inner, config.d_state})),
      m_D(require_parameter(source, "D", {config.d_inner}, DType::float32)),
      m_out_proj(require_weight(source, "out_proj", {config.d_model, config.d_inner}, dtype)),
      m_out_proj_bias(load_optional(config.bias, source, "out_proj.bias", {config.d_model})) {
  source.placement().finish();
}

Mamba::Mamba(const MambaConfig& config, DType dtype, std::uint64_t seed, Device device)
    : Mamba(config, ParameterSource(initial_parameters(config, seed), Placement(device)), dtype) {}

std::size_t Mamba::parameter_bytes() const {
  return bytes_of({&m_in_proj, &m_x_proj, &m_out_proj}, {&m_in_proj_bias, &m_conv, &m_conv_bias, &m_dt_proj,
                                                         &m_dt_bias, &m_A, &m_D, &m_out_proj_bias});
}

BlockState Mamba::make_state(ExecContext& exec, std::int64_t batch, DType ssm_dtype) const {
  return make_block_state(exec, batch, m_config.d_inner, m_config.d_conv, m_dtype, ssm_dtype,
                          {batch, m_config.d_inner, m_config.d_state});
}

void Mamba::forward(ExecContext& exec, const Tensor& x, const Tensor& out, const BlockState* state,
                    const Tensor& attention_mask) const {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = x.extent(0), seqlen = x.extent(1);
  const std::int64_t d_inner = m_config.d_inner, d_state = m_config.d_state, dt_rank = m_config.dt_rank;
  const auto take = [&](std::int64_t features) {
    return exec.workspace().take_tensor(m_dtype, {batch, seqlen, features});
  };

  const Tensor input = masked_input(exec, x, attention_mask);
  const Tensor xz = take(2 * d_inner);
  project(exec, input, m_in_proj, m_in_proj_bias, xz);
  const Tensor u = take(d_inner);
  run_conv(exec, xz.slice(2, 0, d_inner), m_conv, m_conv_bias, m_config.activation, state, u);
  if (attention_mask) mask_positions(exec, {u, attention_mask, u});

  const Tensor dtBC = take(dt_rank + 2 * d_state);
  project(exec, u, m_x_proj, {}, dtBC);
  const Tensor delta = take(d_inner);
  linear(exec, {dtBC.slice(2, 0, dt_rank), m_dt_proj.tensor, {}, delta});

  SelectiveScanArgs scan;
  scan.u = u;
  scan.delta = delta;
  scan.A = m_A.tensor;
  scan.B = dtBC.slice(2, dt_rank, dt_rank + d_state).reshape({batch, seqlen, 1, d_state});
  scan.C = dtBC.slice(2, dt_rank + d_state, dt_rank + 2 * d_state).reshape({batch, seqlen, 1, d_state});
  scan.D = m_D.tensor;
  scan.z = xz.slice(2, d_inner, 2 * d_inner);
  scan.delta_bias = m_dt_bias.tensor;
  scan.delta_softplus = true;
  if (state) scan.initial_states = scan.final_states = state->ssm;
  scan.out = u;
  selective_scan(exec, scan);
  project(exec, u, m_out_proj, m_out_proj_bias, out);
}

void Mamba::step(ExecContext& exec, const StepInput& input, const Tensor& residual,
                 const BlockState& state) const {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = input.x.extent(0);
  const std::int64_t d_inner = m_config.d_inner, d_state = m_config.d_state, dt_rank = m_config.dt_rank;
  const auto take = [&](std::int64_t features) {
    return exec.workspace().take_tensor(m_dtype, {batch, features});
  };

  const Tensor xz = take(2 * d_inner);
  project_step(exec, input, {m_in_proj, m_in_proj_bias, m_conv, m_conv_bias, m_config.activation, 0}, state,
               xz);
  const Tensor u = xz.slice(1, 0, d_inner);

  const Tensor dtBC = take(dt_rank + 2 * d_state);
  project(exec, u, m_x_proj, {}, dtBC, true);

  SelectiveStateUpdateArgs update;
  update.state = state.ssm;
  update.x = u;
  update.dt = dtBC.slice(1, 0, dt_rank);
  update.dt_weight = m_dt_proj.tensor;
  update.A = m_A.tensor;
  update.B = dtBC.slice(1, dt_rank, dt_rank + d_state).reshape({batch, 1, d_state});
  update.C = dtBC.slice(1, dt_rank + d_state, dt_rank + 2 * d_state).reshape({batch, 1, d_state});
  update.D = m_D.tensor;
  update.z = xz.slice(1, d_inner, 2 * d_inner);
  update.dt_bias = m_dt_bias.tensor;
  update.dt_softplus = true;
  update.out = u;
  selective_state_update(exec, update);
  project(exec, u, m_out_proj, m_out_proj_bias, residual, true, true);
}

}  // namespace ophis
