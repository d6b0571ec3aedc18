// What the blocks share.
#pragma once

#include <initializer_list>
#include <string>

#include "ophis/core/exec_context.hpp"
#include "ophis/models/block.hpp"
#include "ophis/models/config.hpp"

namespace ophis {

/// conv1d.weight, in its place, as (dim, width), its memory dense along dim, in float32, as causal_conv1d
/// reads it fastest.
Parameter load_conv_weight(const ParameterSource& source, std::int64_t dim, std::int64_t width);

/// -exp(A_log), in float32, in its place.
Parameter load_A(const ParameterSource& source, const Dims& shape);

/// A parameter that the configuration may leave out.
Parameter load_optional(bool wanted, const ParameterSource& source, const std::string& name,
                        const Dims& shape);

/// A state of zeros.
BlockState make_block_state(ExecContext& exec, std::int64_t batch, std::int64_t conv_dim, std::int64_t d_conv,
                            DType dtype, DType ssm_dtype, const Dims& ssm_shape);

/// Bytes of a block's parameters.
std::size_t bytes_of(std::initializer_list<const Weight*> weights,
                     std::initializer_list<const Parameter*> parameters);

/// x with zeros where the mask is 0, in the workspace; x itself without a mask. A block with a bias in
/// in_proj still feeds that bias to its convolution at padded positions, as transformers does.
Tensor masked_input(ExecContext& exec, const Tensor& x, const Tensor& attention_mask);

/// The short convolution and its activation, on (batch, seqlen, dim).
void run_conv(ExecContext& exec, const Tensor& x, const Parameter& weight, const Parameter& bias,
              Activation activation, const BlockState* state, const Tensor& out);

/// The first half of a step: the projection of a block's input, and the convolution of its outputs from
/// conv_begin on, in place.
struct StepProjection {
  const Weight& weight;
  const Parameter& bias;                     ///< may be empty
  const Parameter &conv_weight, &conv_bias;  ///< so may conv_bias
  Activation activation;
  std::int64_t conv_begin;
};
void project_step(ExecContext& exec, const StepInput& input, const StepProjection& projection,
                  const BlockState& state, const Tensor& out);

}  // namespace ophis
