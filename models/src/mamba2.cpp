#include "models/src/block_common.hpp"
#include "models/src/initialization.hpp"
#include "models/src/projection.hpp"
#include "ophis/ops/mask_positions.hpp"
#include "ophis/ops/norm_linear.hpp"
#include "ophis/ops/rms_norm.hpp"
#include "ophis/ops/ssd_scan.hpp"

namespace ophis {
namespace {

std::int64_t in_proj_features(const Mamba2Config& config) {
  return config.d_inner + config.conv_dim() + config.nheads;
}

Dims D_shape(const Mamba2Config& config) {
  return config.D_has_hdim ? Dims{config.nheads, config.headdim} : Dims{config.nheads};
}

/// Splits the last axis, from `begin` on, into (groups, size).
Tensor heads_of(const Tensor& tensor, std::int64_t begin, std::int64_t groups, std::int64_t size) {
  Dims shape = tensor.shape();
  shape[shape.size() - 1] = groups;
  shape.push_back(size);
  return tensor.slice(-1, begin, begin + groups * size).reshape(shape);
}

}  // namespace

Mamba2::Mamba2(const Mamba2Config& config, const ParameterSource& source, DType dtype, double norm_epsilon)
    : m_config(config),
      m_dtype(dtype),
      m_norm_epsilon(norm_epsilon),
      m_in_proj(require_weight(source, "in_proj", {in_proj_features(config), config.d_model}, dtype)),
      m_in_proj_bias(load_optional(config.bias, source, "in_proj.bias", {in_proj_features(config)})),
      m_conv(load_conv_weight(source, config.conv_dim(), config.d_conv)),
      m_conv_bias(load_optional(config.conv_bias, source, "conv1d.bias", {config.conv_dim()})),
      m_A(load_A(source, {config.nheads})),
      m_dt_bias(require_parameter(source, "dt_bias", {config.nheads}, DType::float32)),
      m_norm(load_optional(config.rmsnorm, source, "norm.weight", {config.d_inner})),
      m_out_proj(require_weight(source, "out_proj", {config.d_model, config.d_inner}, dtype)),
      m_out_proj_bias(load_optional(config.bias, source, "out_proj.bias", {config.d_model})) {
  // D per element is stored flat, as (nheads * headdim).
  const Dims stored = config.D_has_hdim ? Dims{config.d_inner} : Dims{config.nheads};
  m_D = require_parameter(source, "D", stored, DType::float32);
  m_D.tensor = m_D.tensor.reshape(D_shape(config));
  source.placement().finish();
}

Mamba2::Mamba2(const Mamba2Config& config, DType dtype, std::uint64_t seed, Device device)
    : Mamba2(config, ParameterSource(initial_parameters(config, seed), Placement(device)), dtype) {}

std::size_t Mamba2::parameter_bytes() const {
  return bytes_of({&m_in_proj, &m_out_proj}, {&m_in_proj_bias, &m_conv, &m_conv_bias, &m_A, &m_D, &m_dt_bias,
                                              &m_norm, &m_out_proj_bias});
}

BlockState Mamba2::make_state(ExecContext& exec, std::int64_t batch, DType ssm_dtype) const {
  return make_block_state(exec, batch, m_config.conv_dim(), m_config.d_conv, m_dtype, ssm_dtype,
                          {batch, m_config.nheads, m_config.headdim, m_config.d_state});
}

/// The parts of in_proj's output, views of (..., features).
struct Mamba2::Projected {
  Tensor z, xBC, dt;
};

Mamba2::Projected Mamba2::split(const Tensor& zxbcdt) const {
  const std::int64_t z_end = m_config.d_inner, xBC_end = z_end + m_config.conv_dim();
  return {zxbcdt.slice(-1, 0, z_end), zxbcdt.slice(-1, z_end, xBC_end),
          zxbcdt.slice(-1, xBC_end, xBC_end + m_config.nheads)};
}

/// The arguments that the scan and its one-step update share. xBC is what left the convolution, y where the
/// scan writes.
template <class Args>
void Mamba2::fill(Args& args, const Projected& projected, const Tensor& xBC, const Tensor& y) const {
  const std::int64_t nheads = m_config.nheads, headdim = m_config.headdim;
  const std::int64_t ngroups = m_config.ngroups, d_state = m_config.d_state;
  args.x = heads_of(xBC, 0, nheads, headdim);
  args.dt = projected.dt;
  args.A = m_A.tensor;
  args.B = heads_of(xBC, m_config.d_inner, ngroups, d_state);
  args.C = heads_of(xBC, m_config.d_inner + ngroups * d_state, ngroups, d_state);
  args.D = m_D.tensor;
  if (!m_config.rmsnorm) args.z = heads_of(projected.z, 0, nheads, headdim);
  args.dt_bias = m_dt_bias.tensor;
  args.dt_softplus = true;
  args.dt_min = m_config.dt_min;
  args.dt_max = m_config.dt_max;
  args.out = heads_of(y, 0, nheads, headdim);
}

void Mamba2::forward(ExecContext& exec, const Tensor& x, const Tensor& out, const BlockState* state,
                     const Tensor& attention_mask) const {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = x.extent(0), seqlen = x.extent(1);
  const auto take = [&](std::int64_t features) {
    return exec.workspace().take_tensor(m_dtype, {batch, seqlen, features});
  };

  const Tensor input = masked_input(exec, x, attention_mask);
  const Tensor zxbcdt = take(in_proj_features(m_config));
  project(exec, input, m_in_proj, m_in_proj_bias, zxbcdt);
  const Projected projected = split(zxbcdt);
  const Tensor xBC = take(m_config.conv_dim());
  run_conv(exec, projected.xBC, m_conv, m_conv_bias, m_config.activation, state, xBC);
  if (attention_mask) mask_positions(exec, {xBC, attention_mask, xBC});

  const Tensor y = take(m_config.d_inner);
  SsdScanArgs scan;
  fill(scan, projected, xBC, y);
  scan.chunk_size = m_config.chunk_size;
  if (state) scan.initial_states = scan.final_states = state->ssm;
  ssd_scan(exec, scan);
  if (m_config.rmsnorm) rms_norm(exec, gated_norm(y, projected.z));
  project(exec, y, m_out_proj, m_out_proj_bias, out);
}

void Mamba2::step(ExecContext& exec, const StepInput& input, const Tensor& residual,
                  const BlockState& state) const {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = input.x.extent(0);
  const auto take = [&](std::int64_t features) {
    return exec.workspace().take_tensor(m_dtype, {batch, features});
  };

  const Tensor zxbcdt = take(in_proj_features(m_config));
  project_step(exec, input,
               {m_in_proj, m_in_proj_bias, m_conv, m_conv_bias, m_config.activation, m_config.d_inner}, state,
               zxbcdt);
  const Projected projected = split(zxbcdt);
  const Tensor y = take(m_config.d_inner);
  SsdStateUpdateArgs update;
  fill(update, projected, projected.xBC, y);
  update.state = state.ssm;
  if (gates_before_norm()) update.z = heads_of(projected.z, 0, m_config.nheads, m_config.headdim);
  ssd_state_update(exec, update);
  if (!gates_before_norm()) {
    if (m_config.rmsnorm) rms_norm(exec, gated_norm(y, projected.z));
    return project(exec, y, m_out_proj, m_out_proj_bias, residual, true, true);
  }
  NormLinearArgs args;
  args.x = y;
  args.norm_weight = m_norm.tensor;
  args.eps = m_norm_epsilon;
  set_weight(args, m_out_proj);
  args.bias = m_out_proj_bias.tensor;
  args.accumulate = true;
  args.out = residual;
  norm_linear(exec, args);
}

/// Whether the norm behind the scan is one of y silu(z) over whole rows: then the gate is the update's and
/// the norm goes along with the projection.
bool Mamba2::gates_before_norm() const {
  return m_config.rmsnorm && !m_config.norm_before_gate && m_config.ngroups == 1;
}

/// The gate and the norm, in place.
RmsNormArgs Mamba2::gated_norm(const Tensor& y, const Tensor& z) const {
  RmsNormArgs norm;
  norm.x = y;
  norm.weight = m_norm.tensor;
  norm.z = z;
  norm.eps = m_norm_epsilon;
  norm.norm_before_gate = m_config.norm_before_gate;
  norm.group_size = m_config.d_inner / m_config.ngroups;
  norm.out = y;
  return norm;
}

}  // namespace ophis
