// Zeroes the positions of a sequence that a mask leaves out: padding.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[b, l, :] = mask[b, l] != 0 ? x[b, l, :] : 0. T is one of float32, bfloat16, float16.
struct MaskPositionsArgs {
  Tensor x;     ///< (batch, seqlen, dim) T, any strides
  Tensor mask;  ///< (batch, seqlen) int64 or int32

  Tensor out;  ///< (batch, seqlen, dim) T; may be x
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented.
void mask_positions(ExecContext& exec, const MaskPositionsArgs& args);

}  // namespace ophis
