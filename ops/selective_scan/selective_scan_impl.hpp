// The lists of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/selective_scan.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<SelectiveScanArgs>> selective_scan_impls();
std::span<const Implementation<SelectiveStateUpdateArgs>> selective_state_update_impls();

/// The definition, in double, one channel and position after the other, on host tensors of any float dtype.
void selective_scan_reference(const SelectiveScanArgs& args);
void selective_state_update_reference(const SelectiveStateUpdateArgs& args);

}  // namespace ophis
