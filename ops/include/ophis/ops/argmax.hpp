// The position of the largest element of each row: greedy sampling.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[i...] = the first j with x[i..., j] = max_k x[i..., k]. NaN counts as larger than every number, as in
/// torch; 0 and -0 are equal.
///
/// T is one of float32, bfloat16, float16. (rows..., n) is one to six axes of any strides; the row is the
/// last one.
struct ArgmaxArgs {
  Tensor x;  ///< (rows..., n) T, n >= 1

  Tensor out;  ///< (rows...) int64
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented.
void argmax(ExecContext& exec, const ArgmaxArgs& args);

}  // namespace ophis
