// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/cross_entropy.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<CrossEntropyArgs>> cross_entropy_impls();

/// The definition, in double, one row after the other, on host tensors of any float dtype.
void cross_entropy_reference(const CrossEntropyArgs& args);

}  // namespace ophis
