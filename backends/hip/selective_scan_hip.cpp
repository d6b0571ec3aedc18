#include "backends/hip/selective_scan_hip.hpp"

#include "backends/hip/launch_blocks.hpp"
#include "backends/hip/selective_scan_hip_kernel.hpp"

namespace ophis::selective_scan_hip {

const char* why_not(Device device, const SelectiveScanArgs& args) {
  if (device.type != DeviceType::hip) return "runs on AMD GPUs";
  return why_not_arguments(args);
}

void run(ExecContext& exec, const SelectiveScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_kernel(exec, args, [&](const auto& kernel, std::int64_t blocks) {
    hip::launch_blocks("selective_scan", exec, kernel, blocks);
  });
}

}  // namespace ophis::selective_scan_hip
