// causal_conv1d for the waves of AMD GPUs.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/ops/causal_conv1d.hpp"

namespace ophis::causal_conv1d_hip {

const char* why_not(Device device, const CausalConv1dArgs& args);
void run(ExecContext& exec, const CausalConv1dArgs& args);

}  // namespace ophis::causal_conv1d_hip
