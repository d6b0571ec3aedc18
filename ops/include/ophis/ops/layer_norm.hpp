// Layer normalisation of rows, fused with the residual addition.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// s = x + residual;  out = (s - mean(s)) / sqrt(mean((s - mean(s))^2) + eps) * weight + bias, the means
/// taken over a row (Ba, Kiros and Hinton 2016).
///
/// T is one of float32, bfloat16, float16; arithmetic is float32. (rows..., dim) is one to six axes of any
/// strides; the row is the last one, and all such tensors have the shape of x.
struct LayerNormArgs {
  Tensor x;           ///< (rows..., dim) T or float32, dim >= 1
  Tensor weight;      ///< (dim) any compute dtype, or none: ones
  Tensor bias;        ///< (dim) any compute dtype, or none
  Tensor residual;    ///< (rows..., dim) T or float32, or none: added to x before anything else
  double eps = 1e-5;  ///< added to the variance

  Tensor residual_out;  ///< (rows..., dim) T or float32: s, or none; may be the memory of residual
  Tensor out;           ///< (rows..., dim) T; may be an x of T
};

/// Throws Error(invalid_argument) on shapes, dtypes or values other than documented.
void layer_norm(ExecContext& exec, const LayerNormArgs& args);

}  // namespace ophis
