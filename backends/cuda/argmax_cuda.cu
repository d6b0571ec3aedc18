// A row's threads keep the best of every so manyth element each; the best of the threads' is the row's. Where
// there are few rows several blocks, a cluster, share one. Ties go to the lower position, so the result does
// not depend on how the work is cut.
#include "backends/cuda/argmax_cuda.hpp"

#include "backends/cuda/cluster.cuh"
#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"

namespace ophis::argmax_cuda {
namespace {

constexpr int threads = 1024;
constexpr unsigned most_blocks = 8;  // of a row

struct Best {
  float value;
  std::int64_t position;
};

/// Whether a comes before b: NaN before numbers, larger before smaller, then by position.
__device__ bool precedes(const Best& a, const Best& b) {
  const bool a_nan = isnan(a.value), b_nan = isnan(b.value);
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a.value != b.value) return a.value > b.value;
  return a.position < b.position;
}

__device__ Best best_of_warp(Best best) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const Best other{__shfl_xor_sync(0xffffffffu, best.value, offset),
                     __shfl_xor_sync(0xffffffffu, best.position, offset)};
    if (precedes(other, best)) best = other;
  }
  return best;
}

/// The best of all threads of a cluster, in the first warp of its first block.
__device__ Best best_of_cluster(Best best, const cuda::Cluster& cluster) {
  __shared__ Best of_warps[threads / 32], of_blocks[most_blocks];
  best = best_of_warp(best);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x < 32) best = best_of_warp(of_warps[threadIdx.x]);
  if (cluster.blocks() > 1) {
    cluster.wait();
    if (threadIdx.x == 0) *cluster.of_block(&of_blocks[cluster.block()], 0) = best;
    cluster.sync();
    if (threadIdx.x < 32) best = best_of_warp(of_blocks[threadIdx.x % cluster.blocks()]);
  }
  return best;
}

/// Every `blocks` blocks, which are a cluster, find the best of a row.
template <class T>
__global__ void __launch_bounds__(threads)
    find(const T* x, std::int64_t* out, std::int64_t length, std::int64_t row_stride, std::int64_t out_stride,
         unsigned blocks) {
  const unsigned of_row = blockIdx.x / blocks, part = blockIdx.x % blocks;
  const cuda::Cluster cluster(blocks, part);
  cluster.arrive();
  const T* const row = x + of_row * row_stride;
  cuda::wait_for_previous_kernel();
  Best best{-INFINITY, length};
#pragma unroll 8
  for (std::int64_t i = part * threads + threadIdx.x; i < length; i += blocks * threads) {
    const Best here{cuda::to_float(row[i]), i};
    if (precedes(here, best)) best = here;
  }
  best = best_of_cluster(best, cluster);
  if (part == 0 && threadIdx.x == 0) out[of_row * out_stride] = best.position;
}

/// How many blocks share a row: as the device has room for, and the row has work.
unsigned blocks_of_row(Device device, std::int64_t rows, std::int64_t length) {
  const cuda::DeviceProperties& gpu = cuda::properties(device);
  unsigned blocks = 1;
  while (gpu.compute_capability >= 90 && blocks < most_blocks && 2 * blocks * rows <= gpu.multiprocessors &&
         length > blocks * threads)
    blocks *= 2;
  return blocks;
}

}  // namespace

const char* why_not(Device device, const ArgmaxArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (args.x.rank() > 2 || args.x.stride(-1) != 1) return "x is not a matrix of dense rows";
  if (args.out.count() == 0 || args.out.count() >= std::int64_t{1} << 31)
    return "there are no rows, or too many";
  return nullptr;
}

void run(ExecContext& exec, const ArgmaxArgs& args) {
  const bool matrix = args.x.rank() == 2;
  const std::int64_t rows = args.out.count(), length = args.x.extent(-1);
  const unsigned blocks = blocks_of_row(exec.device(), rows, length);
  const cuda::Grid grid(dim3(static_cast<unsigned>(rows) * blocks), blocks);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    cuda::launch_overlapped("argmax", exec, find<T>, grid, dim3(threads), 0, args.x.data<T>(),
                            args.out.data<std::int64_t>(), length, matrix ? args.x.stride(0) : 0,
                            matrix ? args.out.stride(0) : 0, blocks);
  });
}

}  // namespace ophis::argmax_cuda
