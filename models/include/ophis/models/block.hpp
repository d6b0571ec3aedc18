// Mamba and Mamba-2 blocks: (batch, seqlen, d_model) in and out, with a state for generation.
#pragma once

#include <cstdint>
#include <memory>

#include "ophis/core/exec_context.hpp"
#include "ophis/models/config.hpp"
#include "ophis/models/weight.hpp"
#include "ophis/ops/rms_norm.hpp"

namespace ophis {

/// What a block remembers of the positions it has seen.
struct BlockState {
  OwnedTensor conv_memory;  ///< (batch, d_conv - 1, conv_dim), so that channels are dense
  OwnedTensor ssm;          ///< Mamba: (batch, d_inner, d_state); Mamba-2: (batch, nheads, headdim, d_state);
                            ///< float32, or the block's dtype, which halves what a step must move

  /// The last inputs of the convolution, oldest first: (batch, conv_dim, d_conv - 1).
  Tensor conv() const { return conv_memory->transpose(1, 2); }
  /// Forgets everything.
  void reset(ExecContext& exec);
};

/// What a step of a block starts from: its input, or what the RMSNorm in front of the block takes, which then
/// goes along with the block's projection (norm_linear).
struct StepInput {
  Tensor x;                    ///< (batch, d_model) of the block's dtype or, with a norm, float32
  Tensor norm_weight;          ///< (d_model) any compute dtype; none: no norm, x is the block's input
  double norm_epsilon = 1e-5;  ///< of that norm
};

/// A sequence mixer, on the device where its parameters were put. It has no mutable state of its own: one
/// block may serve several contexts and states at once.
class Block {
 public:
  virtual ~Block() = default;

  /// Bytes of all parameters.
  virtual std::size_t parameter_bytes() const = 0;

  /// A state of zeros for `batch` sequences, on the context's device, which is the block's; `ssm_dtype` is
  /// float32 or the block's dtype. On a GPU the zeros are queued.
  virtual BlockState make_state(ExecContext& exec, std::int64_t batch,
                                DType ssm_dtype = DType::float32) const = 0;

  /// All positions at once. `x` and `out` are (batch, seqlen, d_model) of the block's dtype. With `state` the
  /// sequences go on from it, and it is advanced. With `attention_mask` (batch, seqlen), int64 or int32,
  /// positions where it is 0 (left padding) do not touch the others.
  virtual void forward(ExecContext& exec, const Tensor& x, const Tensor& out,
                       const BlockState* state = nullptr, const Tensor& attention_mask = {}) const = 0;

  /// The next position, added to `residual` (batch, d_model), of the block's dtype or float32, which may be
  /// the memory of the input; advances `state`.
  virtual void step(ExecContext& exec, const StepInput& input, const Tensor& residual,
                    const BlockState& state) const = 0;
};

/// The Mamba block (arXiv:2312.00752, figure 3).
class Mamba final : public Block {
 public:
  /// Parameters by their checkpoint names: in_proj.weight, conv1d.weight, x_proj.weight, dt_proj.weight,
  /// dt_proj.bias, A_log, D, out_proj.weight, and biases where the configuration has them. Activations have
  /// `dtype`.
  Mamba(const MambaConfig& config, const ParameterSource& source, DType dtype);
  /// Initial parameters, drawn as the paper says; the same for the same seed.
  Mamba(const MambaConfig& config, DType dtype, std::uint64_t seed, Device device = Device::cpu());

  std::size_t parameter_bytes() const override;
  BlockState make_state(ExecContext& exec, std::int64_t batch,
                        DType ssm_dtype = DType::float32) const override;
  void forward(ExecContext& exec, const Tensor& x, const Tensor& out, const BlockState* state = nullptr,
               const Tensor& attention_mask = {}) const override;
  void step(ExecContext& exec, const StepInput& input, const Tensor& residual,
            const BlockState& state) const override;

 private:
  MambaConfig m_config;
  DType m_dtype;
  Weight m_in_proj;  // (2 d_inner, d_model): [x, z]
  Parameter m_in_proj_bias;
  Parameter m_conv, m_conv_bias;   // (d_inner, d_conv)
  Weight m_x_proj;                 // (dt_rank + 2 d_state, d_inner): [dt, B, C]
  Parameter m_dt_proj, m_dt_bias;  // (d_inner, dt_rank)
  Parameter m_A, m_D;              // (d_inner, d_state), (d_inner)
  Weight m_out_proj;               // (d_model, d_inner)
  Parameter m_out_proj_bias;
};

/// The Mamba-2 block (arXiv:2405.21060, section 7).
class Mamba2 final : public Block {
 public:
  /// Parameters by their checkpoint names: in_proj.weight, conv1d.weight, dt_bias, A_log, D, norm.weight,
  /// out_proj.weight, and biases where the configuration has them. Activations have `dtype`.
  Mamba2(const Mamba2Config& config, const ParameterSource& source, DType dtype, double norm_epsilon = 1e-5);
  /// Initial parameters, drawn as the paper says; the same for the same seed.
  Mamba2(const Mamba2Config& config, DType dtype, std::uint64_t seed, Device device = Device::cpu());

  std::size_t parameter_bytes() const override;
  BlockState make_state(ExecContext& exec, std::int64_t batch,
                        DType ssm_dtype = DType::float32) const override;
  void forward(ExecContext& exec, const Tensor& x, const Tensor& out, const BlockState* state = nullptr,
               const Tensor& attention_mask = {}) const override;
  void step(ExecContext& exec, const StepInput& input, const Tensor& residual,
            const BlockState& state) const override;

 private:
  struct Projected;
  Projected split(const Tensor& zxbcdt) const;
  template <class Args>
  void fill(Args& args, const Projected& projected, const Tensor& xBC, const Tensor& y) const;
  RmsNormArgs gated_norm(const Tensor& y, const Tensor& z) const;
  bool gates_before_norm() const;

  Mamba2Config m_config;
  DType m_dtype;
  double m_norm_epsilon;
  Weight m_in_proj;  // (2 d_inner + 2 ngroups d_state + nheads, d_model): [z, x, B, C, dt]
  Parameter m_in_proj_bias;
  Parameter m_conv, m_conv_bias;  // (conv_dim, d_conv)
  Parameter m_A, m_D, m_dt_bias;  // (nheads); D (nheads) or (nheads, headdim)
  Parameter m_norm;               // (d_inner)
  Weight m_out_proj;              // (d_model, d_inner)
  Parameter m_out_proj_bias;
};

}  // namespace ophis
