// selective_scan for the waves of AMD GPUs.
#pragma once

#include "ophis/ops/selective_scan.hpp"

namespace ophis::selective_scan_hip {

const char* why_not(Device device, const SelectiveScanArgs& args);
void run(ExecContext& exec, const SelectiveScanArgs& args);

}  // namespace ophis::selective_scan_hip
