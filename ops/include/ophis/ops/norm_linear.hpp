// What a step of generation does around a linear layer of a block: norm, projection, then the short
// convolution or the residual sum.
#pragma once

#include <cstdint>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis {

/// n = x / sqrt(mean(x^2) + eps) * norm_weight, the mean taken over a row (rms_norm);
/// out = n weight^T + bias, added to what out holds with `accumulate` (linear). Of the outputs those from
/// conv_begin on, as many as conv_weight has channels, are the input of a step of the convolution and then
/// its output (causal_conv1d_update).
///
/// T is one of float32, bfloat16, float16: the weight's or, if that is quantized, the 16-bit dtype of x or
/// out if one of them has one, else float32. Arithmetic is float32. n, or n but for the root, may be rounded
/// to T. For few rows a GPU does all this in one kernel.
struct NormLinearArgs {
  Tensor x;            ///< (rows..., in) T or float32; the last axis dense
  Tensor norm_weight;  ///< (in) any compute dtype, or none: ones
  double eps = 1e-5;   ///< added to the mean of squares

  Tensor weight;                    ///< (out, in) T; the last axis dense. Or, with weight_scale, the codes of
                                    ///< a quantized weight, as in QuantizedLinearArgs
  Tensor weight_scale;              ///< (out, groups), as there, or none
  Tensor weight_shift;              ///< (out, groups), as there, or none
  Tensor bias;                      ///< (out) any compute dtype, or none
  bool weight_is_constant = false;  ///< as in LinearArgs, of norm_weight and conv_weight, too
  bool accumulate = false;          ///< as in LinearArgs; not with a convolution

  Tensor
      conv_state;  ///< (rows, conv_dim, state_len) T, state_len >= width - 1, as in CausalConv1dUpdateArgs,
                   ///< in and out; or none: no convolution. With it x is (rows, in)
  Tensor conv_weight;  ///< (conv_dim, width) any compute dtype; given if conv_state is
  Tensor conv_bias;    ///< (conv_dim) any compute dtype, or none
  Activation conv_activation = Activation::identity;  ///< of the convolution
  std::int64_t conv_begin = 0;                        ///< the convolution's first channel among the outputs

  Tensor out;  ///< (rows..., out) T or, without convolution, float32; the last axis dense; must not overlap x
};

/// Throws Error(invalid_argument) on shapes, strides, dtypes or values other than documented.
void norm_linear(ExecContext& exec, const NormLinearArgs& args);

}  // namespace ophis
