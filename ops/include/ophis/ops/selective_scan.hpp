// The selective scan of Mamba-1: a diagonal state-space model whose step size and, by default, B and C depend
// on the input.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// For every sequence and channel d, over time l, with g = d / (dim / ngroups):
///
///     delta'   = softplus(delta[l, d] + delta_bias[d])        (softplus only with delta_softplus)
///     h[n]     = exp(delta' * A[d, n]) * h[n] + delta' * B[l, g, n] * u[l, d]
///     out[l,d] = (sum_n C[l, g, n] * h[n] + D[d] * u[l, d]) * silu(z[l, d])
///
/// T is one of float32, bfloat16, float16; arithmetic is float32, and so is the state while the scan runs.
/// Any strides: a tensor that lies as (batch, dim, seqlen), or as (batch, ngroups, dstate, seqlen), is given
/// as its transposed view. (Gu and Dao 2023, Mamba: Linear-Time Sequence Modeling with Selective State
/// Spaces, algorithm 2.)
struct SelectiveScanArgs {
  Tensor u;           ///< (batch, seqlen, dim) T
  Tensor delta;       ///< (batch, seqlen, dim) T
  Tensor A;           ///< (dim, dstate) any compute dtype; dstate >= 1
  Tensor B;           ///< (batch, seqlen, ngroups, dstate) T; or, constant in time, (dim, dstate) any compute
                      ///< dtype
  Tensor C;           ///< as B, which it need not follow: each is a tensor per step or a constant
  Tensor D;           ///< (dim) any compute dtype, or none
  Tensor z;           ///< (batch, seqlen, dim) T, or none: no gate
  Tensor delta_bias;  ///< (dim) any compute dtype, or none
  bool delta_softplus = false;  ///< whether delta passes through the softplus
  Tensor initial_states;        ///< (nseq, dim, dstate) float32 or T, or none: zeros
  Tensor cu_seqlens;  ///< (nseq + 1) int32, or none: the batch is 1, and sequence i is [cu_seqlens[i],
                      ///< cu_seqlens[i + 1])

  Tensor out;           ///< (batch, seqlen, dim) T; may be u, delta or z itself
  Tensor final_states;  ///< (nseq, dim, dstate) float32 or T, or none; may be initial_states itself
};
// nseq is batch, or with cu_seqlens the number of sequences. ngroups divides dim; B and C may have different
// ones.

/// Throws Error(invalid_argument) on shapes, dtypes or values other than documented.
void selective_scan(ExecContext& exec, const SelectiveScanArgs& args);

/// One step of the same recurrence, for generation.
struct SelectiveStateUpdateArgs {
  Tensor state;      ///< (batch, dim, dstate) float32 or T; in and out
  Tensor x;          ///< (batch, dim) T, the scan's u
  Tensor dt;         ///< (batch, dim) T, the scan's delta; with dt_weight (batch, dt_rank) T
  Tensor A;          ///< (dim, dstate) any compute dtype; dstate >= 1
  Tensor B;          ///< (batch, ngroups, dstate) T; or (dim, dstate) any compute dtype
  Tensor C;          ///< as B
  Tensor D;          ///< (dim) any compute dtype, or none
  Tensor z;          ///< (batch, dim) T, or none
  Tensor dt_bias;    ///< (dim) any compute dtype, or none
  Tensor dt_weight;  ///< (dim, dt_rank) T, its last axis dense, or none: the deltas are dt dt_weight^T, as
                     ///< linear computes them, perhaps rounded to T; nothing still queued may write to it
  bool dt_softplus = false;  ///< whether the deltas pass through the softplus

  Tensor out;  ///< (batch, dim) T; may be x, dt or z itself
};

/// Advances state by one step and computes out. Throws Error(invalid_argument) as selective_scan does.
void selective_state_update(ExecContext& exec, const SelectiveStateUpdateArgs& args);

}  // namespace ophis
