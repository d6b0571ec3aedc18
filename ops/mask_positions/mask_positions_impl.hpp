// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/mask_positions.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<MaskPositionsArgs>> mask_positions_impls();

/// The definition, on host tensors of any float dtype.
void mask_positions_reference(const MaskPositionsArgs& args);

}  // namespace ophis
