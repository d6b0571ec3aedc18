// ssd_scan on the tensor cores of NVIDIA GPUs, for 16-bit types.
#pragma once

#include "ophis/ops/ssd_scan.hpp"

namespace ophis::ssd_scan_cuda {

/// With wgmma and the copy engine of compute capability 9.0.
const char* why_not_sm90(Device device, const SsdScanArgs& args);
void run_sm90(ExecContext& exec, const SsdScanArgs& args);

/// With mma.sync, on compute capability 8.0 and later.
const char* why_not_sm80(Device device, const SsdScanArgs& args);
void run_sm80(ExecContext& exec, const SsdScanArgs& args);

}  // namespace ophis::ssd_scan_cuda
