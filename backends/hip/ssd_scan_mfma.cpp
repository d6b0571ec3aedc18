#include "backends/hip/ssd_scan_mfma.hpp"

#include "backends/hip/ssd_scan_mfma_plan.hpp"
#include "ophis/core/gpu_runtime.hpp"

namespace ophis::ssd_scan_mfma {
namespace {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::Block::threads) scan(const Kernel kernel) {
  __shared__ typename Kernel::Shared shared;
  kernel(blockIdx.x, shared);
}

}  // namespace

const char* why_not(Device device, const SsdScanArgs& args) {
  if (device.type != DeviceType::hip) return "runs on AMD GPUs";
  return why_not_arguments(args);
}

void run(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_kernel(exec, args, [&]<class Kernel>(const Kernel& kernel, std::int64_t blocks) {
    static_assert(sizeof(typename Kernel::Shared) <= 64 * 1024, "a block has 64 KiB of shared memory");
    scan<<<dim3(static_cast<unsigned>(blocks)), dim3(Kernel::Block::threads), 0, gpu::stream(exec)>>>(kernel);
    gpu::check_launch("ssd_scan");
  });
}

}  // namespace ophis::ssd_scan_mfma
