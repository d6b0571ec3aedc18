// The CUDA kernel of selective_scan.
#pragma once

#include "ophis/ops/selective_scan.hpp"

namespace ophis::selective_scan_cuda {

const char* why_not(Device device, const SelectiveScanArgs& args);
void run(ExecContext& exec, const SelectiveScanArgs& args);

}  // namespace ophis::selective_scan_cuda
