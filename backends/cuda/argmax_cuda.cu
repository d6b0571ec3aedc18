// Each thread keeps the best of every 1024th element; the best of the threads' is the row's. Ties go to the
// lower position, so the result does not depend on how the work is cut.
#include "backends/cuda/argmax_cuda.hpp"
#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"

namespace ophis::argmax_cuda {
namespace {

constexpr int threads = 1024;

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

template <class T>
__global__ void __launch_bounds__(threads) find(const T* x, std::int64_t* out, std::int64_t length,
                                                std::int64_t row_stride, std::int64_t out_stride) {
  __shared__ Best of_warps[threads / 32];
  const T* const row = x + blockIdx.x * row_stride;
  cuda::wait_for_previous_kernel();
  Best best{-INFINITY, length};
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < length; i += threads) {
    const Best here{cuda::to_float(row[i]), i};
    if (precedes(here, best)) best = here;
  }
  best = best_of_warp(best);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = best_of_warp(of_warps[threadIdx.x]);
  if (threadIdx.x == 0) out[blockIdx.x * out_stride] = best.position;
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
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    cuda::launch_overlapped("argmax", exec, find<T>, dim3(static_cast<unsigned>(args.out.count())),
                            dim3(threads), 0, args.x.data<T>(), args.out.data<std::int64_t>(),
                            args.x.extent(-1), matrix ? args.x.stride(0) : 0,
                            matrix ? args.out.stride(0) : 0);
  });
}

}  // namespace ophis::argmax_cuda
