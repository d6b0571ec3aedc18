// The state-space duality (SSD) scan of Mamba-2 and its one-step update.
#pragma once

#include <limits>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// For every sequence, head h and element p of the head, with g = h / (nheads / ngroups) and the state S
/// (headdim, dstate) that starts as initial_states or zero:
///
///     dt'[l]    = clamp(softplus(dt[l, h] + dt_bias[h]), dt_min, dt_max)
///     S[p, n]   = exp(dt'[l] A[h]) S[p, n] + dt'[l] x[l, h, p] B[l, g, n]
///     out[l, p] = (sum_n C[l, g, n] S[p, n] + D[h, p] x[l, h, p]) silu(z[l, h, p])
///
/// (Dao and Gu, "Transformers are SSMs", 2024, sections 3 and 6). Terms whose tensor is not
/// given fall away, the softplus without dt_softplus.
///
/// T is one of float32, bfloat16, float16; arithmetic is float32, and so is the state while the scan runs.
/// Any strides: x, B and C may be slices of one tensor.
struct SsdScanArgs {
  Tensor x;                  ///< (batch, seqlen, nheads, headdim) T
  Tensor dt;                 ///< (batch, seqlen, nheads) T
  Tensor A;                  ///< (nheads) any compute dtype; usually negative
  Tensor B;                  ///< (batch, seqlen, ngroups, dstate) T; ngroups divides nheads
  Tensor C;                  ///< (batch, seqlen, ngroups, dstate) T
  Tensor D;                  ///< (nheads) or (nheads, headdim) any compute dtype, or none
  Tensor z;                  ///< (batch, seqlen, nheads, headdim) T, or none
  Tensor dt_bias;            ///< (nheads) any compute dtype, or none
  bool dt_softplus = false;  ///< whether dt passes through the softplus
  double dt_min = 0.0;       ///< dt_limit: clamps dt after the softplus
  double dt_max = std::numeric_limits<double>::infinity();  ///< largest step size
  /// Positions that an implementation may handle together: a hint, >= 1. Results are the same to rounding.
  std::int64_t chunk_size = 256;
  Tensor initial_states;  ///< (nseq, nheads, headdim, dstate) float32 or T, or none: zeros
  Tensor seq_idx;  ///< (batch, seqlen) int32, or none: where it differs from the position before, the state
                   ///< starts again from zero; initial_states belong to the first sequence of a row
  Tensor cu_seqlens;  ///< (nseq + 1) int32, or none: the batch is 1, and sequence i is [cu_seqlens[i],
                      ///< cu_seqlens[i + 1]); excludes seq_idx

  Tensor out;           ///< (batch, seqlen, nheads, headdim) T; must not overlap an input
  Tensor final_states;  ///< (nseq, nheads, headdim, dstate) float32 or T, the states after the last
                        ///< positions, or none; may be the memory of initial_states
};
// nseq is batch, or with cu_seqlens the number of sequences.

/// Throws Error(invalid_argument) on shapes, dtypes or values other than documented.
void ssd_scan(ExecContext& exec, const SsdScanArgs& args);

/// One step of the same recurrence, for generation.
struct SsdStateUpdateArgs {
  Tensor state;              ///< (batch, nheads, headdim, dstate) float32 or T; in and out
  Tensor x;                  ///< (batch, nheads, headdim) T
  Tensor dt;                 ///< (batch, nheads) T
  Tensor A;                  ///< (nheads) any compute dtype
  Tensor B;                  ///< (batch, ngroups, dstate) T
  Tensor C;                  ///< (batch, ngroups, dstate) T
  Tensor D;                  ///< (nheads) or (nheads, headdim) any compute dtype, or none
  Tensor z;                  ///< (batch, nheads, headdim) T, or none
  Tensor dt_bias;            ///< (nheads) any compute dtype, or none
  bool dt_softplus = false;  ///< whether dt passes through the softplus
  double dt_min = 0.0;       ///< smallest step size, as in SsdScanArgs
  double dt_max = std::numeric_limits<double>::infinity();  ///< largest step size

  Tensor out;  ///< (batch, nheads, headdim) T; may be x or z
};

/// Computes out and advances state. Throws Error(invalid_argument) as ssd_scan does.
void ssd_state_update(ExecContext& exec, const SsdStateUpdateArgs& args);

}  // namespace ophis
