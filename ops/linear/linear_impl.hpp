// The list of implementations, defined in backends/impls, the reference, and the shape of a call that they
// share.
#pragma once

#include <span>

#include "ophis/ops/linear.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<LinearArgs>> linear_impls();

/// The definition, in double, on host tensors of any float dtype.
void linear_reference(const LinearArgs& args);

/// A tensor (rows..., features) as (rows, features) with one leading dimension, or an empty one if its rows
/// are not evenly spaced.
Tensor as_matrix(const Tensor& tensor);

/// The product as a GEMM sees it; leading dimensions are in elements.
struct LinearShape {
  std::int64_t rows, in_features, out_features;
  std::int64_t ldx, ldw, ldout;
};
LinearShape linear_shape(const LinearArgs& args);

/// Up to this many rows the product is bound by reading the weight, and the kernel that streams it once is
/// best.
inline constexpr std::int64_t linear_few_rows = 4;

}  // namespace ophis
