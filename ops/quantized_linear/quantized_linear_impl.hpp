// The list of implementations, defined in backends/impls, the reference, and what implementations share.
#pragma once

#include <span>

#include "ophis/ops/linear.hpp"
#include "ophis/ops/quantized_linear.hpp"
#include "ops/common/implementation.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis {

std::span<const Implementation<QuantizedLinearArgs>> quantized_linear_impls();

/// The definition, in double, on host tensors of any float dtype.
void quantized_linear_reference(const QuantizedLinearArgs& args);

/// The product of x with another weight (out, in), of x's dtype.
LinearArgs linear_of(const QuantizedLinearArgs& args, const Tensor& weight);

/// The product as a GEMM sees it; ldw is in bytes.
LinearShape linear_shape(const QuantizedLinearArgs& args);

/// Up to this many rows the weight is multiplied as it is read; with more it pays to dequantize it first, for
/// a GEMM library.
inline constexpr std::int64_t quantized_linear_few_rows = 8;

}  // namespace ophis
