// The list of implementations, defined in backends/impls, the reference, and the parts of a call as arguments
// of their own ops.
#pragma once

#include <span>

#include "ophis/ops/causal_conv1d.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/norm_linear.hpp"
#include "ophis/ops/quantized_linear.hpp"
#include "ophis/ops/rms_norm.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<NormLinearArgs>> norm_linear_impls();

/// The definition, in double, on host tensors of any float dtype.
void norm_linear_reference(const NormLinearArgs& args);

/// T. With a quantized weight it is the 16-bit dtype of x or out, if one of them has one, else float32.
DType compute_dtype_of(const NormLinearArgs& args);
/// The norm of a call, with its result in `normed`.
RmsNormArgs norm_of(const NormLinearArgs& args, const Tensor& normed);
/// The product, from `normed`.
LinearArgs linear_of(const NormLinearArgs& args, const Tensor& normed);
/// The same of a quantized weight.
QuantizedLinearArgs quantized_linear_of(const NormLinearArgs& args, const Tensor& normed);
/// The convolution, in place.
CausalConv1dUpdateArgs conv_of(const NormLinearArgs& args);

/// The three ops one after the other.
void norm_linear_composed(ExecContext& exec, const NormLinearArgs& args);

}  // namespace ophis
