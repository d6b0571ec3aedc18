// The CUDA kernel of ssd_state_update.
#pragma once

#include "ophis/ops/ssd_scan.hpp"

namespace ophis::ssd_state_update_cuda {

const char* why_not(Device device, const SsdStateUpdateArgs& args);
void run(ExecContext& exec, const SsdStateUpdateArgs& args);

}  // namespace ophis::ssd_state_update_cuda
