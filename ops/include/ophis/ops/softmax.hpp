// Softmax and its logarithm over rows.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[i] = exp(x[i] - m) / sum_j exp(x[j] - m) with m = max_j x[j], or its logarithm
/// x[i] - m - log(sum_j exp(x[j] - m)).
///
/// T is one of float32, bfloat16, float16; arithmetic is float32. (rows..., n) is one to six axes of any
/// strides; the row is the last one. -inf stands for probability zero; a row that holds NaN, +inf or only
/// -inf gives NaN.
struct SoftmaxArgs {
  Tensor x;          ///< (rows..., n) T, n >= 1
  bool log = false;  ///< the logarithm

  Tensor out;  ///< (rows..., n) T; may be x
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented.
void softmax(ExecContext& exec, const SoftmaxArgs& args);

}  // namespace ophis
