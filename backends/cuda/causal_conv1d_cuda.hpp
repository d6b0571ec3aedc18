// The convolution and its one-step update on NVIDIA GPUs, for widths 2 to 4 and 16-byte aligned rows.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/ops/causal_conv1d.hpp"

namespace ophis::causal_conv1d_cuda {

const char* why_not(Device device, const CausalConv1dArgs& args);
void run(ExecContext& exec, const CausalConv1dArgs& args);

}  // namespace ophis::causal_conv1d_cuda

namespace ophis::causal_conv1d_update_cuda {

const char* why_not(Device device, const CausalConv1dUpdateArgs& args);
void run(ExecContext& exec, const CausalConv1dUpdateArgs& args);

}  // namespace ophis::causal_conv1d_update_cuda
