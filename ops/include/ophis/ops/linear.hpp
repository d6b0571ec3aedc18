// Matrix product with a weight matrix, the layer that most of a model's time goes to.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[r, o] = bias[o] + sum_i x[r, i] * weight[o, i], added to what out holds with `accumulate`
///
/// T is one of float32, bfloat16, float16; accumulation is float32.
struct LinearArgs {
  Tensor x;       ///< (rows..., in) T; the last axis dense; fastest if the rows are evenly spaced
  Tensor weight;  ///< (out, in) T; the last axis dense
  Tensor bias;    ///< (out) any compute dtype, or none
  Tensor out;     ///< (rows..., out) T or float32; as x; must not overlap x

  /// The caller's word that no op still queued writes to weight: a GPU may then read it ahead of x.
  bool weight_is_constant = false;
  bool accumulate = false;  ///< out is an input, too: a residual, say
};

/// Throws Error(invalid_argument) on shapes, strides or dtypes other than documented.
void linear(ExecContext& exec, const LinearArgs& args);

}  // namespace ophis
