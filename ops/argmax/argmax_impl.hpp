// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/argmax.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<ArgmaxArgs>> argmax_impls();

/// The definition, one element after the other, on host tensors of any float dtype.
void argmax_reference(const ArgmaxArgs& args);

}  // namespace ophis
