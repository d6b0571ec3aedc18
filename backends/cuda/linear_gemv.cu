// A warp, or all warps of a block where there are few outputs, reads one row of the weight in 16-byte pieces,
// many of them in flight, and multiplies it with every row of x. It asks for its first pieces before it waits
// for the kernel that computes x.
#include <algorithm>

#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/linear_gemv.hpp"

namespace ophis::linear_gemv {
namespace {

constexpr int max_rows = 8;
constexpr int block_warps = 4;
constexpr int pieces_in_flight = 8;

template <class T>
constexpr int piece = 16 / sizeof(T);  // elements of an access

template <class T>
using Piece = cuda::Vec<T, piece<T>>;

template <class T>
struct Parameters {
  const T* x;
  const T* weight;
  const void* bias;  // of T, or float32, or nullptr
  void* out;         // of T, or float32
  std::int64_t ldx, ldw, ldout;
  int in_features, out_features;
  bool bias_float32, out_float32, weight_is_constant;
};

/// Reads past the first-level cache: a weight is used once.
template <class T>
__device__ Piece<T> load_weight(const T* from) {
  const int4 bits = __ldcs(reinterpret_cast<const int4*>(from));
  return *reinterpret_cast<const Piece<T>*>(&bits);
}

template <class T, int rows, int warps_per_out>
__global__ void __launch_bounds__(32 * block_warps) multiply(const __grid_constant__ Parameters<T> p) {
  constexpr int outs_per_block = block_warps / warps_per_out;
  constexpr int stride = 32 * warps_per_out * piece<T>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int out = blockIdx.x * outs_per_block + warp / warps_per_out;
  const int first = (warp % warps_per_out * 32 + lane) * piece<T>;
  const bool active = out < p.out_features;
  const T* const weight = p.weight + (active ? out : 0) * p.ldw;

  if (!p.weight_is_constant) cuda::wait_for_previous_kernel();
  Piece<T> pieces[pieces_in_flight];
#pragma unroll
  for (int k = 0; k < pieces_in_flight; ++k) {
    if (first + k * stride < p.in_features) pieces[k] = load_weight(weight + first + k * stride);
  }
  if (p.weight_is_constant) cuda::wait_for_previous_kernel();

  float sums[rows] = {};
  for (int begin = first; begin < p.in_features; begin += pieces_in_flight * stride) {
    if (begin != first) {
#pragma unroll
      for (int k = 0; k < pieces_in_flight; ++k) {
        if (begin + k * stride < p.in_features) pieces[k] = load_weight(weight + begin + k * stride);
      }
    }
#pragma unroll
    for (int k = 0; k < pieces_in_flight; ++k) {
      const int at = begin + k * stride;
      if (at >= p.in_features) break;
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const Piece<T> x = *reinterpret_cast<const Piece<T>*>(p.x + r * p.ldx + at);
#pragma unroll
        for (int i = 0; i < piece<T>; ++i) {
          sums[r] = fmaf(cuda::to_float(pieces[k].lanes[i]), cuda::to_float(x.lanes[i]), sums[r]);
        }
      }
    }
  }

#pragma unroll
  for (int r = 0; r < rows; ++r) sums[r] = cuda::warp_sum(sums[r]);
  if constexpr (warps_per_out > 1) {
    __shared__ float of_warps[block_warps][rows];
    if (lane == 0) {
      for (int r = 0; r < rows; ++r) of_warps[warp][r] = sums[r];
    }
    __syncthreads();
    if (warp % warps_per_out != 0) return;
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      for (int w = 1; w < warps_per_out; ++w) sums[r] += of_warps[warp + w][r];
    }
  }
  if (lane != 0 || !active) return;
  float bias = 0.0f;
  if (p.bias) {
    bias = p.bias_float32 ? static_cast<const float*>(p.bias)[out]
                          : cuda::to_float(static_cast<const T*>(p.bias)[out]);
  }
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    if (p.out_float32)
      static_cast<float*>(p.out)[r * p.ldout + out] = sums[r] + bias;
    else
      static_cast<T*>(p.out)[r * p.ldout + out] = cuda::from_float<T>(sums[r] + bias);
  }
}

template <class T, int rows>
void launch(ExecContext& exec, const Parameters<T>& p) {
  // With few outputs a warp each would leave most of the device idle.
  const bool share = p.out_features < 4 * block_warps * cuda::properties(exec.device()).multiprocessors &&
                     p.in_features >= block_warps * 32 * piece<T>;
  const int outs_per_block = share ? 1 : block_warps;
  const dim3 grid((p.out_features + outs_per_block - 1) / outs_per_block);
  cuda::launch_overlapped("linear: gemv", exec, share ? multiply<T, rows, block_warps> : multiply<T, rows, 1>,
                          grid, dim3(32 * block_warps), 0, p);
}

template <class T>
void launch(ExecContext& exec, const Parameters<T>& p, std::int64_t count) {
  using Launch = void (*)(ExecContext&, const Parameters<T>&);
  constexpr Launch of_rows[max_rows] = {launch<T, 1>, launch<T, 2>, launch<T, 3>, launch<T, 4>,
                                        launch<T, 5>, launch<T, 6>, launch<T, 7>, launch<T, 8>};
  of_rows[count - 1](exec, p);
}

bool is_aligned(const Tensor& tensor, std::int64_t ld) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0 && ld * size % 16 == 0;
}

}  // namespace

const char* why_not(Device device, const LinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > max_rows) return "many rows: bound by arithmetic";
  const auto size = static_cast<std::int64_t>(size_of(args.x.dtype()));
  if (shape.in_features * size % 16 != 0 || !is_aligned(args.x, shape.rows > 1 ? shape.ldx : 0) ||
      !is_aligned(args.weight, shape.ldw))
    return "rows of x or weight are not aligned to 16 bytes";
  if (args.bias && (args.bias.stride(0) != 1 ||
                    (args.bias.dtype() != DType::float32 && args.bias.dtype() != args.x.dtype())))
    return "bias is neither dense float32 nor dense and of x's dtype";
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  if (shape.in_features >= limit || shape.out_features >= limit) return "an extent is beyond 30 bits";
  return nullptr;
}

void run(ExecContext& exec, const LinearArgs& args) {
  const LinearShape shape = linear_shape(args);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    const Parameters<T> p{args.x.data<T>(),
                          args.weight.data<T>(),
                          args.bias ? args.bias.raw() : nullptr,
                          args.out.raw(),
                          shape.ldx,
                          shape.ldw,
                          shape.ldout,
                          static_cast<int>(shape.in_features),
                          static_cast<int>(shape.out_features),
                          args.bias && args.bias.dtype() == DType::float32,
                          args.out.dtype() == DType::float32,
                          args.weight_is_constant};
    launch(exec, p, shape.rows);
  });
}

}  // namespace ophis::linear_gemv
