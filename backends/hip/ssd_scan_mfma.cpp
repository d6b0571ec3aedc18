#include "backends/hip/ssd_scan_mfma.hpp"

#include "backends/hip/launch_blocks.hpp"
#include "backends/hip/ssd_scan_mfma_plan.hpp"

namespace ophis::ssd_scan_mfma {

const char* why_not(Device device, const SsdScanArgs& args) {
  if (device.type != DeviceType::hip) return "runs on AMD GPUs";
  return why_not_arguments(args);
}

void run(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_kernel(exec, args, [&](const auto& kernel, std::int64_t blocks) {
    hip::launch_blocks("ssd_scan", exec, kernel, blocks);
  });
}

}  // namespace ophis::ssd_scan_mfma
