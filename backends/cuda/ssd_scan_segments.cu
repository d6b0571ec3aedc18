// What runs around the scan of ssd_scan: C . B' of every chunk, and the combination of segments.
#include "backends/cuda/launch.cuh"
#include "backends/cuda/ssd_scan_plan.hpp"
#include "backends/cuda/tensor_core.cuh"

namespace ophis::ssd_scan_cuda {
namespace {

using namespace ophis::cuda;

/// A block of 128 threads: one chunk of one group of one sequence. Warp w has rows 16 w ... of C . B'.
template <class T, int N>
__global__ void __launch_bounds__(128) products_kernel(const __grid_constant__ Plan plan) {
  __shared__ Tile C[N / 64], B[N / 64];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int chunks = plan.segments * plan.segment_chunks;
  const int group = blockIdx.x % plan.ngroups, batch = blockIdx.y;
  const std::int64_t index = blockIdx.x / plan.ngroups;
  const auto copy = [&](Tile* tiles, const void* data, const Rows& rows) {
#pragma unroll
    for (int i = threadIdx.x; i < chunk * N / 8; i += 128) {
      const int t = i / (N / 8), at = i % (N / 8);
      const std::int64_t l = index * chunk + t;
      const bool valid = l < plan.seqlen;
      const T* const from =
          static_cast<const T*>(data) + batch * rows.batch + l * rows.position + group * rows.head + at * 8;
      copy_async(shared_address(&tiles[at / 8]) + tile_offset(t, at % 8), valid ? from : data, valid);
    }
  };
  copy(C, plan.C, plan.C_rows);
  copy(B, plan.B, plan.B_rows);
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();

  float d[32] = {};
#pragma unroll
  for (int k = 0; k < N / 16; ++k) {
    std::uint32_t a[4], b[4];
    load_matrices(a, shared_address(&C[k / 4]) +
                         tile_offset(16 * warp + lane / 8 % 2 * 8 + lane % 8, k % 4 * 2 + lane / 16));
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      if (j / 2 > warp) continue;
      load_matrices(b, shared_address(&B[k / 4]) +
                           tile_offset(8 * (j + lane / 16) + lane % 8, k % 4 * 2 + lane / 8 % 2));
      mma_16816<T>(d + 4 * j, a, b[0], b[1]);
      mma_16816<T>(d + 4 * j + 4, a, b[2], b[3]);
    }
  }
  float* const to =
      plan.products +
      ((static_cast<std::int64_t>(batch) * chunks + index) * plan.ngroups + group) * product_count;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int column = j / 2;
    if (column > warp) continue;
    const int diagonal = warp - column;
    float* const block = to + (4 * diagonal - diagonal * (diagonal - 1) / 2 + column) * 256;
    const int c = j % 2 * 8 + lane % 4 * 2;
    *reinterpret_cast<float2*>(block + lane / 4 * 16 + c) = {d[4 * j], d[4 * j + 1]};
    *reinterpret_cast<float2*>(block + (lane / 4 + 8) * 16 + c) = {d[4 * j + 2], d[4 * j + 3]};
  }
}

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

template <class T>
void multiply_C_B(const Plan& plan, ExecContext& exec, int dstate) {
  const dim3 blocks(static_cast<unsigned>(plan.segments * plan.segment_chunks * plan.ngroups),
                    static_cast<unsigned>(plan.batch));
  if (dstate == 64) {
    products_kernel<T, 64><<<blocks, 128, 0, stream(exec)>>>(plan);
  } else {
    products_kernel<T, 128><<<blocks, 128, 0, stream(exec)>>>(plan);
  }
  check_launch("ssd_scan: C . B'");
}
template void multiply_C_B<bfloat16>(const Plan&, ExecContext&, int);
template void multiply_C_B<float16>(const Plan&, ExecContext&, int);

void combine_segments(const Plan& plan, ExecContext& exec, int dstate) {
  const int panel_size = panel * dstate;
  const dim3 blocks(static_cast<unsigned>((panel_size / 4 + 255) / 256),
                    static_cast<unsigned>(plan.nheads * plan.panels_per_head),
                    static_cast<unsigned>(plan.batch));
  launch_overlapped("ssd_scan: combination of segments", exec, combine_kernel, blocks, dim3(256), 0, plan,
                    panel_size);
}

}  // namespace ophis::ssd_scan_cuda
