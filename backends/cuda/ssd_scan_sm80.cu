// ssd_scan on sm_80 and later: mma.sync and cp.async.
#include "backends/cuda/ssd_scan_kernel.cuh"

namespace ophis::ssd_scan_cuda {
namespace {

struct Ampere {
  struct Maps {};
  static constexpr int stages = 2;
  static constexpr int fetch_arrivals = 32;

  __device__ static const TensorMaps* maps(const Maps&) { return nullptr; }
  __device__ static void wait(std::uint32_t barrier, std::uint32_t parity) { barrier_wait(barrier, parity); }

  template <class T, int N, int heads, bool with_outputs>
  __device__ static void fetch(const Plan& plan, const TensorMaps*, Stage<N, heads>& stage,
                               std::uint32_t full, const Unit& u, std::int64_t position,
                               const float* products) {
    if constexpr (with_outputs) {
      for (int tile = 0; tile < N / 64; ++tile)
        copy_tile<T>(plan, stage.C[tile], plan.C, plan.C_rows, u.batch, position, u.group, tile * 64);
    }
    for (int k = 0; k < heads; ++k) {
      const int p = min(u.first + k, u.last);
      copy_tile<T>(plan, stage.x[k], plan.x, plan.x_rows, u.batch, position, p / plan.panels_per_head,
                   p % plan.panels_per_head * panel);
    }
    for (int tile = 0; tile < N / 64; ++tile)
      copy_tile<T>(plan, stage.B[tile], plan.B, plan.B_rows, u.batch, position, u.group, tile * 64);
    if constexpr (with_outputs) {
      const std::uint32_t to = shared_address(stage.products);
      for (int i = static_cast<int>(threadIdx.x % 32); i < product_count / 4; i += 32)
        copy_async(to + 16 * i, products + 4 * i, true);
    }
    barrier_arrive_after_copies(full);
  }

  /// One warp: 64 elements of 64 positions; zeros beyond seqlen.
  template <class T>
  __device__ static void copy_tile(const Plan& plan, Tile& tile, const void* data, const Rows& rows,
                                   int batch, std::int64_t position, int head, int element) {
    const int row = static_cast<int>(threadIdx.x % 32) / 8, chunk_of_row = static_cast<int>(threadIdx.x % 8);
    const T* from = static_cast<const T*>(data) + batch * rows.batch + (position + row) * rows.position +
                    head * rows.head + element + chunk_of_row * 8;
    const std::uint32_t to = shared_address(&tile);
#pragma unroll
    for (int t = row; t < chunk; t += 4, from += 4 * rows.position) {
      const bool valid = position + t < plan.seqlen;
      copy_async(to + tile_offset(t, chunk_of_row), valid ? from : data, valid);
    }
  }

  /// Four warps: write a Tile's rows to positions from `position` on, as far as there are such.
  template <class T>
  __device__ static void write(const Plan& plan, const TensorMaps*, const Tile& tile, int thread, int batch,
                               std::int64_t position, int head, int element) {
    const int row = thread / 8, chunk_of_row = thread % 8;
    T* const out = static_cast<T*>(plan.out) + batch * plan.out_rows.batch + head * plan.out_rows.head +
                   element + chunk_of_row * 8;
#pragma unroll
    for (int t = row; t < chunk; t += 16) {
      if (position + t < plan.seqlen) {
        *reinterpret_cast<uint4*>(out + (position + t) * plan.out_rows.position) =
            *reinterpret_cast<const uint4*>(tile.bytes + tile_offset(t, chunk_of_row));
      }
    }
  }
  __device__ static void wait_written(int) {}

  template <int heads, bool computes>
  __device__ static void share_registers() {}
  template <int n>
  __device__ static void settle(float (&)[n]) {}
  __device__ static void publish() {}
  __device__ static void fence() {}
  __device__ static void commit() {}
  template <int pending>
  __device__ static void wait_groups() {
    if (pending == 0) __syncwarp();
  }

  /// d (16 a warp, n) (+)= a times the transpose of a tile's rows `row` ... row + n, columns 16 k ... .
  template <class T, int n, int accumulate>
  __device__ static void multiply(float* d, const std::uint32_t (&a)[4], std::uint32_t tile, int row, int k) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < n / 8; j += 2) {
      if (!accumulate) {
#pragma unroll
        for (int i = 0; i < 8; ++i) d[4 * j + i] = 0.0f;
      }
      std::uint32_t b[4];
      load_matrices(b, tile + tile_offset(row + 8 * (j + lane / 16) + lane % 8, 2 * k + lane / 8 % 2));
      mma_16816<T>(d + 4 * j, a, b[0], b[1]);
      mma_16816<T>(d + 4 * j + 4, a, b[2], b[3]);
    }
  }
  /// d (16 a warp, 64) += a times a tile's rows 16 k ... .
  template <class T>
  __device__ static void multiply_transposed(float* d, const std::uint32_t (&a)[4], std::uint32_t tile,
                                             int k) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      std::uint32_t b[4];
      load_matrices_transposed(b, tile + tile_offset(16 * k + lane / 8 % 2 * 8 + lane % 8, j + lane / 16));
      mma_16816<T>(d + 4 * j, a, b[0], b[1]);
      mma_16816<T>(d + 4 * j + 4, a, b[2], b[3]);
    }
  }

  /// Two 16 x 8 accumulator tiles, columns 8 j ... of the transposed tile, from 16-byte chunk `first` of its
  /// rows on.
  __device__ static void store_transposed(std::uint32_t tile, int j, int first, std::uint32_t r0,
                                          std::uint32_t r1, std::uint32_t r2, std::uint32_t r3) {
    const int lane = threadIdx.x % 32;
    const std::uint32_t registers[4] = {r0, r1, r2, r3};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::uint32_t transposed;
      asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(registers[i]));
      const std::uint32_t to = tile + tile_offset(8 * (j + i / 2) + lane / 4, first + i % 2) + lane % 4 * 4;
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(transposed) : "memory");
    }
  }
};

}  // namespace

template <class T>
void scan_sm80(const Plan& plan, const Launch& launch, int dstate) {
  scan<T, Ampere>(plan, {}, launch, dstate);
}
int shared_memory_sm80() { return sizeof(Shared<128, 2, Ampere::stages>); }

template void scan_sm80<bfloat16>(const Plan&, const Launch&, int);
template void scan_sm80<float16>(const Plan&, const Launch&, int);

}  // namespace ophis::ssd_scan_cuda
