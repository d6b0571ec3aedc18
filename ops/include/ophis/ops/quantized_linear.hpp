// Matrix product with a quantized weight matrix: integer codes with a scale for every group of inputs.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[r, o] = bias[o] + sum_i x[r, i] * w[o, i], added to what out holds with `accumulate`, where
/// w[o, i] = weight_scale[o, g] * code[o, i] + weight_shift[o, g], with g the group of input i.
///
/// A code has 8 bits, or 4: then two lie in a byte, the first in its low half. in is a multiple of 8, and so
/// is the size of a group, in / groups. T is one of float32, bfloat16, float16; sums are float32. With many
/// rows w may be rounded to T.
struct QuantizedLinearArgs {
  Tensor x;             ///< (rows..., in) T; the last axis dense; fastest if the rows are evenly spaced
  Tensor weight;        ///< (out, in * bits / 8) uint8: the codes; the last axis dense
  Tensor weight_scale;  ///< (out, groups) any compute dtype; the last axis dense
  Tensor weight_shift;  ///< (out, groups) float32, the last axis dense, or none: -2^(bits - 1) *
                        ///< weight_scale, for codes around the middle of their range
  Tensor bias;          ///< (out) any compute dtype, or none
  bool weight_is_constant = false;  ///< as in LinearArgs, for all three tensors of the weight
  bool accumulate = false;          ///< as in LinearArgs

  Tensor out;  ///< (rows..., out) T or float32; as x; must not overlap x
};

/// Throws Error(invalid_argument) on shapes, strides or dtypes other than documented.
void quantized_linear(ExecContext& exec, const QuantizedLinearArgs& args);

}  // namespace ophis
