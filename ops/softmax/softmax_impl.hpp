// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/softmax.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<SoftmaxArgs>> softmax_impls();

/// The definition, in double, one row after the other, on host tensors of any float dtype.
void softmax_reference(const SoftmaxArgs& args);

}  // namespace ophis
