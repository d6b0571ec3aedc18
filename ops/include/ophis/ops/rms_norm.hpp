// Root-mean-square normalisation of rows, fused with the residual addition and with a gate.
#pragma once

#include <cstdint>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// s = x + residual;  out = s / sqrt(mean(s^2) + eps) * weight + bias, the mean taken over a row or over
/// groups of it (Zhang and Sennrich 2019). With z, before the mean or after the norm, a gate (Dao and Gu
/// 2024, section 7): norm(s * silu(z)), or norm(s) * silu(z) with norm_before_gate.
///
/// T is one of float32, bfloat16, float16; arithmetic is float32. (rows..., dim) is one to six axes of any
/// strides; the row is the last one, and all such tensors have the shape of x.
struct RmsNormArgs {
  Tensor x;                       ///< (rows..., dim) T or float32, dim >= 1
  Tensor weight;                  ///< (dim) any compute dtype, or none: ones
  Tensor bias;                    ///< (dim) any compute dtype, or none
  Tensor residual;                ///< (rows..., dim) T or float32, or none: added to x before anything else
  Tensor z;                       ///< (rows..., dim) T, the gate, or none
  double eps = 1e-5;              ///< added to the mean of squares
  bool norm_before_gate = false;  ///< where z acts
  std::int64_t group_size = 0;    ///< elements under one mean, a divisor of dim; 0: the whole row

  Tensor residual_out;  ///< (rows..., dim) T or float32: s, or none; may be the memory of residual
  Tensor out;           ///< (rows..., dim) T; may be z, or an x of T
};

/// Throws Error(invalid_argument) on shapes, dtypes or values other than documented.
void rms_norm(ExecContext& exec, const RmsNormArgs& args);

}  // namespace ophis
