#include "backends/hip/causal_conv1d_hip.hpp"

#include "backends/hip/causal_conv1d_hip_kernel.hpp"
#include "backends/hip/launch_blocks.hpp"
#include "ops/causal_conv1d/final_states_kokkos.hpp"

namespace ophis::causal_conv1d_hip {

const char* why_not(Device device, const CausalConv1dArgs& args) {
  if (device.type != DeviceType::hip) return "runs on AMD GPUs";
  return why_not_arguments(args);
}

void run(ExecContext& exec, const CausalConv1dArgs& args) {
  const bool writes_final = dispatch_kernel(args, [&](const auto& kernel, std::int64_t blocks) {
    hip::launch_blocks("causal_conv1d", exec, kernel, blocks);
  });
  if (!writes_final) causal_conv1d_kokkos::write_final_states(exec, args);
}

}  // namespace ophis::causal_conv1d_hip
