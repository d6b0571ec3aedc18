// ssd_scan on the matrix cores of AMD GPUs (MI200, MI300), for 16-bit types.
#pragma once

#include "ophis/ops/ssd_scan.hpp"

namespace ophis::ssd_scan_mfma {

const char* why_not(Device device, const SsdScanArgs& args);
void run(ExecContext& exec, const SsdScanArgs& args);

}  // namespace ophis::ssd_scan_mfma
