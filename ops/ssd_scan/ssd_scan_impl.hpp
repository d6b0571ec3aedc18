// The lists of implementations, defined in backends/impls, and the references.
#pragma once

#include <span>

#include "ophis/ops/ssd_scan.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<SsdScanArgs>> ssd_scan_impls();
std::span<const Implementation<SsdStateUpdateArgs>> ssd_state_update_impls();

/// The recurrence, in double, one step after the other, on host tensors of any float dtype.
void ssd_scan_reference(const SsdScanArgs& args);
void ssd_state_update_reference(const SsdStateUpdateArgs& args);

}  // namespace ophis
