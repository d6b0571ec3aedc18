// ssd_scan on Hopper: wgmma and the copy engine. Needs sm_90a.
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/ssd_scan_kernel_sm90.cuh"

namespace ophis::ssd_scan_cuda {
namespace {

using namespace masked_apart;

struct Hopper {
  using Maps = TensorMaps;
  static constexpr int stages = 3, state_stages = 6;
  static constexpr int most_heads = 2;
  static constexpr int fetch_arrivals = 1;

  __device__ static const TensorMaps* maps(const TensorMaps& maps) { return &maps; }
  __device__ static void wait(std::uint32_t barrier, std::uint32_t parity) {
    barrier_wait_suspended(barrier, parity);
  }

  template <class T, int N, int heads, bool with_outputs>
  __device__ static void fetch(const Plan& plan, const TensorMaps* maps, Stage<N, heads, with_outputs>& stage,
                               std::uint32_t full, const Unit& u, std::int64_t position) {
    if (threadIdx.x % 32 != 0) return;
    constexpr int shared_tiles = with_outputs ? 2 * (N / 64) : N / 64;
    barrier_arrive_expect(full, (shared_tiles + heads) * tile_bytes);
    const int l = static_cast<int>(position);
    if constexpr (with_outputs) {
      for (int tile = 0; tile < N / 64; ++tile)
        copy_box(shared_address(&stage.C[tile]), maps->C, full, tile * 64, u.group, l, u.batch);
    }
    for (int k = 0; k < heads; ++k) {
      const int p = min(u.first + k, u.last);
      copy_box(shared_address(&stage.x[k]), maps->x, full, p % plan.panels_per_head * panel,
               p / plan.panels_per_head, l, u.batch);
    }
    for (int tile = 0; tile < N / 64; ++tile)
      copy_box(shared_address(&stage.B[tile]), maps->B, full, tile * 64, u.group, l, u.batch);
  }

  /// One warpgroup: writes a Tile's rows to positions from `position` on, as far as there are such.
  template <class T>
  __device__ static void write(const Plan&, const TensorMaps* maps, const Tile& tile, int thread, int batch,
                               std::int64_t position, int head, int element) {
    if (thread == 0)
      write_box(maps->out, shared_address(&tile), element, head, static_cast<int>(position), batch);
  }
  /// Waits until what the thread began to write is out of shared memory.
  __device__ static void wait_written(int thread) {
    if (thread == 0) wait_boxes_read();
  }

  /// Registers go to the warps that compute. The sum over all warps is at most what the launch allocates.
  template <int heads, bool with_outputs, Role role>
  __device__ static void share_registers() {
    if constexpr (!with_outputs) return;
    if constexpr (role == Role::compute) set_registers<heads == 2 ? 176 : 208, true>();
    if constexpr (role == Role::mask) set_registers<heads == 2 ? 112 : 152, false>();
    if constexpr (role == Role::prepare) set_registers<heads == 2 ? 48 : 136, false>();
  }
  /// Keeps the compiler from moving the use of accumulators before the wait for them.
  template <int n>
  __device__ static void settle(float (&d)[n]) {
#pragma unroll
    for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
  }

  __device__ static void publish() { fence_async_proxy(); }
  __device__ static void fence() { wgmma_fence(); }
  __device__ static void commit() { wgmma_commit(); }
  template <int pending>
  __device__ static void wait_groups() {
    wgmma_wait<pending>();
  }

  /// d (64, n) (+)= a times the transpose of a tile's rows `row` ... row + n, columns 16 k ... .
  template <class T, int n, int accumulate>
  __device__ static void multiply(float* d, const std::uint32_t (&a)[4], std::uint32_t tile, int row, int k) {
    wgmma<T, n, accumulate, 0>(d, a, tile_descriptor(tile) + (row * 128 + k * 32) / 16);
  }
  /// d (64, 64) += a times a tile's rows 16 k ... .
  template <class T>
  __device__ static void multiply_transposed(float* d, const std::uint32_t (&a)[4], std::uint32_t tile,
                                             int k) {
    wgmma<T, 64, 1, 1>(d, a, tile_descriptor(tile) + k * 2048 / 16);
  }

  /// Two 16 x 8 accumulator tiles, columns 8 j ... of the transposed tile, from 16-byte chunk `first` of its
  /// rows on.
  __device__ static void store_transposed(std::uint32_t tile, int j, int first, std::uint32_t r0,
                                          std::uint32_t r1, std::uint32_t r2, std::uint32_t r3) {
    const int lane = threadIdx.x % 32;
    store_matrices_transposed(tile + tile_offset(8 * j + lane / 16 * 8 + lane % 8, first + lane / 8 % 2), r0,
                              r1, r2, r3);
  }
};

}  // namespace

template <class T>
void scan_sm90(const Plan& plan, const TensorMaps& maps, const Launch& launch, int dstate) {
  scan<T, Hopper>(plan, maps, launch, dstate);
}
template void scan_sm90<bfloat16>(const Plan&, const TensorMaps&, const Launch&, int);
template void scan_sm90<float16>(const Plan&, const TensorMaps&, const Launch&, int);

}  // namespace ophis::ssd_scan_cuda
