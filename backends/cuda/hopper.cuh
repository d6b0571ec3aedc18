// Instructions of sm_90a: the bulk tensor copy engine, and matrix products by groups of four warps (wgmma)
// whose second operand is a Tile (tensor_core.cuh) in shared memory.
#pragma once

#include <cuda.h>

#include "backends/cuda/tensor_core.cuh"

namespace ophis::cuda {

/// Makes what was written to shared memory by ordinary stores visible to wgmma and the copy engine.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Arrives, and makes the barrier wait for so many bytes of bulk copies too.
__device__ __forceinline__ void barrier_arrive_expect(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1; }" ::"r"(barrier),
               "r"(bytes)
               : "memory");
}

/// As barrier_wait, but the hardware suspends the thread for a while.
__device__ __forceinline__ void barrier_wait_suspended(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  while (done == 0) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  }
}

/// Changes the number of registers of each thread of a warpgroup.
template <int count, bool more>
__device__ __forceinline__ void set_registers() {
  if constexpr (more) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
  } else {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
  }
}

/// Copies the box of a rank-4 tensor map at these coordinates (innermost first).
__device__ __forceinline__ void copy_box(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier,
                                         int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
      "%5, %6}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

/// Copies from shared memory to the box of a rank-4 tensor map; what is outside the tensor is left out.
__device__ __forceinline__ void write_box(const CUtensorMap& map, std::uint32_t from, int c0, int c1, int c2,
                                          int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];"
      "cp.async.bulk.commit_group;" ::"l"(&map),
      "r"(from), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
/// Waits until shared memory holds nothing that write_box of this thread has still to read.
__device__ __forceinline__ void wait_boxes_read() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

/// Before the first wgmma, and after registers that a wgmma takes were written.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of wgmmas.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `pending` groups are unfinished.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// The descriptor of a Tile, or of its rows from a multiple of eight on; groups of eight rows are 1024 bytes
/// apart.
__device__ __forceinline__ std::uint64_t tile_descriptor(std::uint32_t address) {
  constexpr std::uint64_t swizzle_128 = 1ull << 62, row_group = (1024ull >> 4) << 32;
  constexpr std::uint64_t unused = 1ull << 16;
  return swizzle_128 | row_group | unused | ((address & 0x3ffffu) >> 4);
}

// d (64, n) (+)= a (64, 16) b (16, n): a in registers, b in a Tile whose rows run along n (transposed = 0) or
// along the 16 (transposed = 1).
#define OPHIS_WGMMA_64(type)                                                                               \
  asm volatile(                                                                                            \
      "{ .reg .pred p; setp.ne.b32 p, %37, 0;"                                                             \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                                          \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "  \
      "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, p, 1, 1, %38; }" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),    \
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),           \
        "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),         \
        "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),         \
        "+f"(d[29]), "+f"(d[30]), "+f"(d[31])                                                              \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(accumulate), "n"(transposed))

#define OPHIS_WGMMA_32(type)                                                                                 \
  asm volatile(                                                                                              \
      "{ .reg .pred p; setp.ne.b32 p, %21, 0;"                                                               \
      "wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                                            \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19}, "      \
      "%20, p, 1, 1, %22; }"                                                                                 \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),      \
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(accumulate), "n"(transposed))

template <class T, int n, int accumulate, int transposed>
__device__ __forceinline__ void wgmma(float* d, const std::uint32_t (&a)[4], std::uint64_t b) {
  static_assert(n == 64 || n == 32);
  if constexpr (std::is_same_v<T, bfloat16>) {
    if constexpr (n == 64) {
      OPHIS_WGMMA_64("bf16");
    } else {
      OPHIS_WGMMA_32("bf16");
    }
  } else {
    if constexpr (n == 64) {
      OPHIS_WGMMA_64("f16");
    } else {
      OPHIS_WGMMA_32("f16");
    }
  }
}

#undef OPHIS_WGMMA_64
#undef OPHIS_WGMMA_32

}  // namespace ophis::cuda
