// The CUDA kernel of selective_state_update.
#pragma once

#include "ophis/ops/selective_scan.hpp"

namespace ophis::selective_state_update_cuda {

const char* why_not(Device device, const SelectiveStateUpdateArgs& args);
void run(ExecContext& exec, const SelectiveStateUpdateArgs& args);

}  // namespace ophis::selective_state_update_cuda
