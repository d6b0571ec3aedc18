// The combination of the segments of ssd_scan.
#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/ssd_scan_plan.hpp"

namespace ophis::ssd_scan_cuda {
namespace {

using namespace ophis::cuda;

/// A thread: four elements of a panel's state, segment after segment.
__global__ void combine_kernel(const __grid_constant__ Plan plan, int panel_size) {
  wait_for_previous_kernel();
  const int panels = plan.nheads * plan.panels_per_head;
  const int element = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (element >= panel_size) return;
  const int p = blockIdx.y, batch = blockIdx.z;
  const std::int64_t first = static_cast<std::int64_t>(batch) * plan.segments * panels + p;
  float4 state =
      *reinterpret_cast<const float4*>(plan.segment_states + (first + panels) * panel_size + element);
  for (int segment = 2; segment < plan.segments; ++segment) {
    const std::int64_t at = first + static_cast<std::int64_t>(segment) * panels;
    auto* const slot = reinterpret_cast<float4*>(plan.segment_states + at * panel_size + element);
    const float decay = exp2_fast(plan.segment_decays[at]);
    const float4 own = *slot;
    state.x = fmaf(decay, state.x, own.x);
    state.y = fmaf(decay, state.y, own.y);
    state.z = fmaf(decay, state.z, own.z);
    state.w = fmaf(decay, state.w, own.w);
    *slot = state;
  }
}

}  // namespace

void combine_segments(const Plan& plan, ExecContext& exec, int dstate) {
  const int panel_size = panel * dstate;
  const dim3 blocks(static_cast<unsigned>((panel_size / 4 + 255) / 256),
                    static_cast<unsigned>(plan.nheads * plan.panels_per_head),
                    static_cast<unsigned>(plan.batch));
  launch_overlapped("ssd_scan: combination of segments", exec, combine_kernel, blocks, dim3(256), 0, plan,
                    panel_size);
}

}  // namespace ophis::ssd_scan_cuda
