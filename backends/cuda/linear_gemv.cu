// A group of warps shares the rows of two outputs: each lane asks for its 16-byte pieces of both at once, so
// that enough of the weight is on its way, and multiplies them with every row of x. Where the weight is
// constant it asks before it waits for the kernel that computes x.
#include <algorithm>

#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/linear_gemv.hpp"

namespace ophis::linear_gemv {
namespace {

constexpr int max_rows = 8;
constexpr int block_warps = 8;
constexpr int group_outs = 2;        // outputs of a group of warps
constexpr int pieces_in_flight = 6;  // of each output, for a lane

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

  __device__ void store(int row, int o, float sum) const {
    if (bias)
      sum +=
          bias_float32 ? static_cast<const float*>(bias)[o] : cuda::to_float(static_cast<const T*>(bias)[o]);
    if (out_float32)
      static_cast<float*>(out)[row * ldout + o] = sum;
    else
      static_cast<T*>(out)[row * ldout + o] = cuda::from_float<T>(sum);
  }
};

/// Reads past the first-level cache: a weight is used once.
template <class T>
__device__ Piece<T> load_weight(const T* from) {
  const int4 bits = __ldcs(reinterpret_cast<const int4*>(from));
  return *reinterpret_cast<const Piece<T>*>(&bits);
}

/// A lane's pieces of the rows of its group's outputs.
template <class T>
struct Pieces {
  Piece<T> of_outs[group_outs][pieces_in_flight];

  /// Those at first, first + stride, ... below in_features.
  __device__ void load(const Parameters<T>& p, int out, int first, int stride) {
#pragma unroll
    for (int o = 0; o < group_outs; ++o) {
      const T* const row = p.weight + min(out + o, p.out_features - 1) * p.ldw;
#pragma unroll
      for (int k = 0; k < pieces_in_flight; ++k) {
        const int at = first + k * stride;
        of_outs[o][k] = at < p.in_features ? load_weight(row + at) : Piece<T>{};
      }
    }
  }
};

/// The values of the whole block's sums of one group, added in the order of its warps.
template <int count, int group_warps>
__device__ void add_over_group(float (&sums)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) sums[i] = cuda::warp_sum(sums[i]);
  if constexpr (group_warps > 1) {
    __shared__ float of_warps[block_warps][count];
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
#pragma unroll
      for (int i = 0; i < count; ++i) of_warps[warp][i] = sums[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < count; ++i) {
      sums[i] = 0.0f;
#pragma unroll
      for (int w = 0; w < group_warps; ++w) sums[i] += of_warps[warp / group_warps * group_warps + w][i];
    }
  }
}

template <class T, int rows, int group_warps>
__global__ void __launch_bounds__(32 * block_warps, 2) multiply(const __grid_constant__ Parameters<T> p) {
  constexpr int block_outs = block_warps / group_warps * group_outs;
  constexpr int stride = 32 * group_warps * piece<T>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int out = blockIdx.x * block_outs + warp / group_warps * group_outs;
  const int first = (warp % group_warps * 32 + lane) * piece<T>;

  if (!p.weight_is_constant) cuda::wait_for_previous_kernel();
  Pieces<T> pieces;
  pieces.load(p, out, first, stride);
  if (p.weight_is_constant) cuda::wait_for_previous_kernel();

  float sums[group_outs * rows] = {};
  for (int begin = first; begin < p.in_features; begin += pieces_in_flight * stride) {
    if (begin != first) pieces.load(p, out, begin, stride);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      Piece<T> x[pieces_in_flight];
#pragma unroll
      for (int k = 0; k < pieces_in_flight; ++k) {
        const int at = begin + k * stride;
        x[k] = at < p.in_features ? *reinterpret_cast<const Piece<T>*>(p.x + r * p.ldx + at) : Piece<T>{};
      }
#pragma unroll
      for (int k = 0; k < pieces_in_flight; ++k) {
#pragma unroll
        for (int i = 0; i < piece<T>; ++i) {
          const float value = cuda::to_float(x[k].lanes[i]);
#pragma unroll
          for (int o = 0; o < group_outs; ++o) {
            float& sum = sums[o * rows + r];
            sum = fmaf(cuda::to_float(pieces.of_outs[o][k].lanes[i]), value, sum);
          }
        }
      }
    }
  }
  add_over_group<group_outs * rows, group_warps>(sums);

  if (warp % group_warps != 0) return;
#pragma unroll
  for (int o = 0; o < group_outs; ++o) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      if (lane == o * rows + r && out + o < p.out_features) p.store(r, out + o, sums[o * rows + r]);
    }
  }
}

/// Enough warps a group for its pieces to be in flight at once, and, where there are few outputs, for the
/// blocks to occupy the device.
int choose_group_warps(std::int64_t in_features, std::int64_t out_features, int piece_size,
                       int multiprocessors) {
  int warps = 1;
  while (warps < block_warps && in_features > std::int64_t{32} * piece_size * pieces_in_flight * warps)
    warps *= 2;
  const auto blocks = [&] { return out_features * warps / (block_warps * group_outs); };
  while (warps < block_warps && blocks() < multiprocessors && in_features >= 64 * piece_size * warps)
    warps *= 2;
  return warps;
}

template <class T, int rows>
void launch(ExecContext& exec, const Parameters<T>& p) {
  const int warps = choose_group_warps(p.in_features, p.out_features, piece<T>,
                                       cuda::properties(exec.device()).multiprocessors);
  const int block_outs = block_warps / warps * group_outs;
  const auto kernel = warps == 1   ? multiply<T, rows, 1>
                      : warps == 2 ? multiply<T, rows, 2>
                      : warps == 4 ? multiply<T, rows, 4>
                                   : multiply<T, rows, 8>;
  cuda::launch_overlapped("linear: gemv", exec, kernel, dim3((p.out_features + block_outs - 1) / block_outs),
                          dim3(32 * block_warps), 0, p);
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
