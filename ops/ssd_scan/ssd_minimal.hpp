// SSD in its minimal chunked form, for reading and for testing: Listing 1 of "Transformers are SSMs" (Dao and
// Gu, 2024), in double, one loop an equation.
#pragma once

#include "ophis/core/tensor.hpp"

namespace ophis {

/// The discrete form of SSD, which knows no time step:
///
///     S[t] = exp(A[t]) S[t - 1] + X[t] B[t]^T,   Y[t] = S[t] C[t]
///
/// discretize() makes X and A of the continuous form that ssd_scan takes. Tensors are on the host, of any
/// float dtype.
struct SsdMinimalArgs {
  Tensor X;                     ///< (batch, length, nheads, headdim)
  Tensor A;                     ///< (batch, length, nheads), the logarithm of the decay
  Tensor B;                     ///< (batch, length, ngroups, dstate)
  Tensor C;                     ///< (batch, length, ngroups, dstate)
  std::int64_t block_len = 64;  ///< >= 1; the last block may be shorter
  Tensor initial_states;        ///< (batch, nheads, headdim, dstate), or none: zeros

  Tensor Y;             ///< (batch, length, nheads, headdim)
  Tensor final_states;  ///< (batch, nheads, headdim, dstate)
};

/// From continuous to discrete: X = x dt and A_discrete = A dt, with x and X (batch, length, nheads,
/// headdim), dt and A_discrete (batch, length, nheads), A (nheads).
void discretize(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& X,
                const Tensor& A_discrete);

void ssd_minimal(const SsdMinimalArgs& args);

}  // namespace ophis
