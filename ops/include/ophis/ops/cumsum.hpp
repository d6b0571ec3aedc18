// Cumulative sums.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[..., l, ...] = sum_{j <= l} x[..., j, ...] along one axis (reverse: j >= l)
///
/// Sums are kept in float32 for float32, bfloat16 and float16, in float64 for float64, and in int64 for
/// integers; an integer sum beyond out's range wraps around. With u the unit roundoff of the sum's type
/// (2^-24, 2^-53), an output is off by at most (min(l, 511) + l / 512) u sum_j |x_j| to first order, plus its
/// rounding to out's dtype. Any strides.
struct CumsumArgs {
  Tensor x;              ///< 1 to Dims::max_rank axes; float32, bfloat16, float16, float64, int32 or int64
  int axis = -1;         ///< a negative axis counts from the end
  bool reverse = false;  ///< sum from the last position to the first

  Tensor out;  ///< the shape of x, and its dtype (for int32 also int64); may be x, else must not overlap it
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented.
void cumsum(ExecContext& exec, const CumsumArgs& args);

}  // namespace ophis
