// A block takes one group of one row. A thread owns pieces of 16 bytes, which it reads once for the mean and
// again, from the first-level cache, for the output; so outputs may be the memory of inputs.
#include <algorithm>

#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/rms_norm_cuda.hpp"
#include "ops/common/dense.hpp"

namespace ophis::rms_norm_cuda {
namespace {

constexpr int max_threads = 1024;

/// A (rows, dim) matrix whose rows are dense, or nothing.
struct Matrix {
  void* data = nullptr;
  std::int64_t ld = 0;
};

template <class T>
struct Parameters {
  Matrix x, residual, z, residual_out, out;
  const float* weight;  // (dim), or nullptr
  const float* bias;    // (dim), or nullptr
  int group, groups;
  float eps;
  bool x_float32, residual_float32, residual_out_float32, norm_before_gate;
};

/// N consecutive elements of T as floats.
template <class T, int N>
__device__ void load(float (&to)[N], const Matrix& from, std::int64_t row, std::int64_t column) {
  using Values = cuda::Vec<T, N>;
  constexpr int words = sizeof(Values) > 16 ? 2 : 1;  // accesses are of 16 bytes at most
  using Access = cuda::Vec<T, N / words>;
  const T* const at = static_cast<const T*>(from.data) + row * from.ld + column;
#pragma unroll
  for (int w = 0; w < words; ++w) {
    const Access values = reinterpret_cast<const Access*>(at)[w];
#pragma unroll
    for (int i = 0; i < N / words; ++i) to[w * (N / words) + i] = cuda::to_float(values.lanes[i]);
  }
}

template <class T, int N>
__device__ void store(const float (&from)[N], const Matrix& to, std::int64_t row, std::int64_t column) {
  constexpr int words = sizeof(T) * N > 16 ? 2 : 1;
  using Access = cuda::Vec<T, N / words>;
  T* const at = static_cast<T*>(to.data) + row * to.ld + column;
#pragma unroll
  for (int w = 0; w < words; ++w) {
    Access values;
#pragma unroll
    for (int i = 0; i < N / words; ++i) values.lanes[i] = cuda::from_float<T>(from[w * (N / words) + i]);
    reinterpret_cast<Access*>(at)[w] = values;
  }
}

template <class T, int N>
__device__ void gate(float (&values)[N], const Matrix& z, std::int64_t row, std::int64_t column) {
  float gates[N];
  load<T>(gates, z, row, column);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] *= cuda::silu_fast(gates[i]);
}

template <class T, int N>
__device__ void load_either(float (&to)[N], const Matrix& from, bool float32, std::int64_t row,
                            std::int64_t column) {
  if (float32)
    load<float>(to, from, row, column);
  else
    load<T>(to, from, row, column);
}

/// x + residual.
template <class T, int N>
__device__ void load_sum(const Parameters<T>& p, float (&sum)[N], std::int64_t row, std::int64_t column) {
  load_either<T>(sum, p.x, p.x_float32, row, column);
  if (!p.residual.data) return;
  float residual[N];
  load_either<T>(residual, p.residual, p.residual_float32, row, column);
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] += residual[i];
}

__device__ float block_sum(float value) {
  __shared__ float of_warps[max_threads / 32];
  const int warps = blockDim.x / 32;
  value = cuda::warp_sum(value);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  return cuda::warp_sum(lane < warps ? of_warps[lane] : 0.0f);
}

template <class T, int N>
__global__ void __launch_bounds__(max_threads) normalize(const __grid_constant__ Parameters<T> p) {
  const std::int64_t row = blockIdx.x / p.groups;
  const std::int64_t begin = std::int64_t{blockIdx.x % p.groups} * p.group, end = begin + p.group;
  const std::int64_t first = begin + threadIdx.x * N, step = blockDim.x * N;
  const bool gate_first = p.z.data && !p.norm_before_gate;
  cuda::wait_for_previous_kernel();

  float squares = 0.0f;
  for (std::int64_t column = first; column < end; column += step) {
    float values[N];
    load_sum(p, values, row, column);
    if (gate_first) gate<T>(values, p.z, row, column);
#pragma unroll
    for (int i = 0; i < N; ++i) squares = fmaf(values[i], values[i], squares);
  }
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(p.group) + p.eps);

  for (std::int64_t column = first; column < end; column += step) {
    float values[N];
    load_sum(p, values, row, column);
    if (p.residual_out.data && p.residual_out_float32) store<float>(values, p.residual_out, row, column);
    if (p.residual_out.data && !p.residual_out_float32) store<T>(values, p.residual_out, row, column);
    if (gate_first) gate<T>(values, p.z, row, column);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      values[i] *= scale;
      if (p.weight) values[i] *= p.weight[column + i];
      if (p.bias) values[i] += p.bias[column + i];
    }
    if (p.z.data && p.norm_before_gate) gate<T>(values, p.z, row, column);
    store<T>(values, p.out, row, column);
  }
}

/// The tensor's rows, if they are dense and evenly spaced; nothing for a tensor that is not given.
Matrix as_matrix(const Tensor& tensor, const Dims& shape) {
  if (!tensor) return {};
  return {tensor.raw(), tensor.strides_as(shape)->operator[](0)};
}

/// Whether pieces of N elements are aligned for wide accesses.
bool is_aligned(const Tensor& tensor, const Dims& shape, int n) {
  if (!tensor) return true;
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  const std::int64_t bytes = std::min<std::int64_t>(16, n * size);
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % static_cast<std::uint64_t>(bytes) == 0 &&
         (shape[0] == 1 || (*tensor.strides_as(shape))[0] * size % bytes == 0);
}

constexpr int piece = 8;

Dims matrix_shape(const RmsNormArgs& args) {
  const std::int64_t dim = args.x.extent(-1);
  return {args.x.count() / dim, dim};
}

template <class T, int N>
void launch(ExecContext& exec, const Parameters<T>& p, std::int64_t blocks) {
  const int threads = std::clamp((p.group / N + 31) / 32 * 32, 32, max_threads);
  cuda::launch_overlapped("rms_norm", exec, normalize<T, N>, dim3(static_cast<unsigned>(blocks)),
                          dim3(static_cast<unsigned>(threads)), 0, p);
}

}  // namespace

const char* why_not(Device device, const RmsNormArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const Dims shape = matrix_shape(args);
  for (const Tensor& tensor : {args.x, args.residual, args.z, args.residual_out, args.out}) {
    if (!tensor) continue;
    const auto strides = tensor.strides_as(shape);
    if (!strides || (shape[1] > 1 && (*strides)[1] != 1)) return "rows are not dense and evenly spaced";
  }
  if (shape[0] * shape[1] == 0) return "there is nothing to do";
  if (shape[0] * shape[1] >= std::int64_t{1} << 31) return "there are too many rows";
  return nullptr;
}

void run(ExecContext& exec, const RmsNormArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor weight = as_dense_float32(exec, args.weight), bias = as_dense_float32(exec, args.bias);
  const Dims shape = matrix_shape(args);
  const std::int64_t group = args.group_size ? args.group_size : shape[1];
  bool wide = group % piece == 0;
  for (const Tensor& tensor : {args.x, args.residual, args.z, args.residual_out, args.out}) {
    wide = wide && is_aligned(tensor, shape, piece);
  }
  dispatch_compute_dtype(args.out.dtype(), [&]<class T>(std::type_identity<T>) {
    const Parameters<T> p{as_matrix(args.x, shape),
                          as_matrix(args.residual, shape),
                          as_matrix(args.z, shape),
                          as_matrix(args.residual_out, shape),
                          as_matrix(args.out, shape),
                          weight ? weight.data<float>() : nullptr,
                          bias ? bias.data<float>() : nullptr,
                          static_cast<int>(group),
                          static_cast<int>(shape[1] / group),
                          static_cast<float>(args.eps),
                          args.x.dtype() == DType::float32,
                          args.residual.dtype() == DType::float32,
                          args.residual_out.dtype() == DType::float32,
                          args.norm_before_gate};
    const std::int64_t blocks = shape[0] * p.groups;
    wide ? launch<T, piece>(exec, p, blocks) : launch<T, 1>(exec, p, blocks);
  });
}

}  // namespace ophis::rms_norm_cuda
