// Depthwise causal convolution along time, the short convolution of Mamba blocks.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis {

/// out[b, l, d] = act(bias[d] + sum_k weight[d, k] * x[b, l - (width - 1) + k, d])
///
/// T is one of float32, bfloat16, float16; arithmetic is float32. Any strides: channels last is (batch,
/// seqlen, dim) dense, channels first is the transposed view of a dense (batch, dim, seqlen).
struct CausalConv1dArgs {
  Tensor x;       ///< (batch, seqlen, dim) T
  Tensor weight;  ///< (dim, width) any compute dtype; width >= 1
  Tensor bias;    ///< (dim) any compute dtype, or none
  Tensor
      initial_states;  ///< (nseq, dim, width - 1) T, the inputs before the first, oldest first; none: zeros
  Tensor seq_idx;  ///< (batch, seqlen) int32, or none: a tap of another sequence than its output's counts as
                   ///< zero, initial_states belong to the first; where it is negative (padding) out is zero
  Tensor cu_seqlens;  ///< (nseq + 1) int32, or none: the batch is 1, and sequence i is [cu_seqlens[i],
                      ///< cu_seqlens[i + 1])
  Activation activation = Activation::identity;  ///< applied to the sums

  Tensor out;           ///< (batch, seqlen, dim) T; must not overlap x
  Tensor final_states;  ///< (nseq, dim, width - 1) T, the last width - 1 inputs, oldest first, or none; may
                        ///< be the memory of initial_states
};
// nseq is batch, or with cu_seqlens the number of sequences.

/// Throws Error(invalid_argument) on shapes, dtypes or values other than documented.
void causal_conv1d(ExecContext& exec, const CausalConv1dArgs& args);

/// One step of the same convolution, for generation.
struct CausalConv1dUpdateArgs {
  Tensor x;           ///< (batch, dim) T
  Tensor conv_state;  ///< (batch, dim, state_len) T, state_len >= width - 1: the latest inputs, oldest first;
                      ///< in and out
  Tensor weight;      ///< (dim, width) any compute dtype
  Tensor bias;        ///< (dim) any compute dtype, or none
  Activation activation = Activation::identity;  ///< applied to the sums

  Tensor out;  ///< (batch, dim) T; may be x
};

/// Computes out and shifts x into conv_state. Throws Error(invalid_argument) as causal_conv1d does.
void causal_conv1d_update(ExecContext& exec, const CausalConv1dUpdateArgs& args);

}  // namespace ophis
