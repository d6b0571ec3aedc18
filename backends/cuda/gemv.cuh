// Products of a few rows with a weight that is read once. A group of warps shares the rows of a few outputs:
// each lane asks for its 16-byte pieces of all of them at once, so that enough of the weight is on its way,
// and multiplies them with every row of the input. Where the weight is constant it asks before it waits for
// the kernel that computes the input. How the weight is stored, how rows come in and what becomes of the sums
// are a Weight (gemv_dense.cuh, gemv_codes.cuh), an Input and an Output.
//
// Each of a model's many kernels is short, so that what counts beside the bytes is the number of
// instructions between the end of the kernel before and this one's: most warps take few paths.
#pragma once

#include <algorithm>
#include <utility>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/vector_access.cuh"
#include "ops/linear/linear_impl.hpp"

namespace ophis::cuda::gemv {

inline constexpr int max_rows = 8;
inline constexpr int block_warps = 8;
inline constexpr int block_threads = 32 * block_warps;

template <class T>
inline constexpr int piece = 16 / sizeof(T);  // elements of an access

template <class T>
using Piece = Packed<T, piece<T>>;

/// x weight^T + bias, and where it goes.
template <class T>
struct Product {
  const T* x;
  const void* bias;  // of T, or float32, or nullptr
  void* out;         // of T, or float32
  std::int64_t ldx, ldout;
  int rows, in_features, out_features;
  bool bias_float32, out_float32, weight_is_constant, accumulate;

  __device__ float with_bias(int o, float sum) const {
    if (bias == nullptr) return sum;
    return sum +
           (bias_float32 ? static_cast<const float*>(bias)[o] : to_float(static_cast<const T*>(bias)[o]));
  }
  /// What the output is added to.
  __device__ float old(int row, int o) const {
    if (!accumulate) return 0.0f;
    return out_float32 ? static_cast<const float*>(out)[row * ldout + o]
                       : to_float(static_cast<const T*>(out)[row * ldout + o]);
  }
  __device__ void store(int row, int o, float value) const {
    if (out_float32)
      static_cast<float*>(out)[row * ldout + o] = value;
    else
      static_cast<T*>(out)[row * ldout + o] = from_float<T>(value);
  }
};

/// Reads past the first-level cache: a weight is used once.
template <class T>
__device__ Piece<T> load_weight(const T* from) {
  const uint4 v = __ldcs(reinterpret_cast<const uint4*>(from));
  return {v.x, v.y, v.z, v.w};
}

/// Elements that others of the block read too.
template <class T>
__device__ Piece<T> load_shared(const T* from) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  return {v.x, v.y, v.z, v.w};
}

/// What is loaded next.
struct Next {
  int out, begin;  // the group's first output, the first input
  bool wanted;
};

/// Rows as they are in global memory. In general an Input has a Reader, made before the kernel before has
/// ended, which may read what is constant then, and the rest in load(). It is given shared memory.
template <class T>
struct PlainInput {
  template <int rows>
  struct Reader {
    const T* x;
    std::int64_t ldx;

    __device__ Reader(const Product<T>& p, const PlainInput&, void*) : x(p.x), ldx(p.ldx) {}
    __device__ void load() {}
    __device__ Piece<T> piece(int row, int at) const { return load_shared(x + row * ldx + at); }
    __device__ float factor(int) const { return 1.0f; }
  };
};

/// Stores the outputs. In general an Output has a Writer for an output that a lane will store, which reads
/// early, once the kernel before has ended, what it needs besides the sum; prefetch() may be called before.
template <class T>
struct PlainOutput {
  struct Writer {
    float old;

    __device__ static void prefetch(const Product<T>&, const PlainOutput&, int, int) {}
    __device__ void read(const Product<T>& p, const PlainOutput&, int row, int o) { old = p.old(row, o); }
    __device__ void store(const Product<T>& p, const PlainOutput&, int row, int o, float value) const {
      p.store(row, o, value + old);
    }
  };
};

/// A block takes every so manyth tile of outputs. What it has multiplied it replaces at once by what comes
/// next, be that of the next tile, so that its loads never pause.
template <class T, class Weight, int rows, int group_warps, class Input, class Output>
__global__ void __launch_bounds__(block_threads, Weight::blocks_abreast)
    multiply(const __grid_constant__ Product<T> p, const __grid_constant__ Weight weight,
             const __grid_constant__ Input input, const __grid_constant__ Output output) {
  using Lane = typename Weight::template Lane<rows, group_warps>;
  constexpr int tile_outs = block_warps / group_warps * Weight::group_outs;
  const int group_out = static_cast<int>(threadIdx.x) / 32 / group_warps * Weight::group_outs;
  const int step = static_cast<int>(gridDim.x) * tile_outs;
  int out = static_cast<int>(blockIdx.x) * tile_outs + group_out;

  extern __shared__ uint4 memory[];
  start_next_kernel();
  if (!p.weight_is_constant) wait_for_previous_kernel();
  Lane lane(p, weight);
  lane.load({out, 0, true});
  typename Input::template Reader<rows> x(p, input, memory);
  using Writer = typename Output::Writer;
  const auto stored = [&](int i) {
    return lane.stores_it(i) && out + lane.out_of(i) < p.out_features && lane.row_of(i) < p.rows;
  };
#pragma unroll
  for (int i = 0; i < Lane::stores; ++i) {
    if (stored(i)) Writer::prefetch(p, output, lane.row_of(i), out + lane.out_of(i));
  }
  if (p.weight_is_constant) wait_for_previous_kernel();
  x.load();

  Next next{out, 0, true};
  for (int turn = 0; out - group_out < p.out_features; out += step, turn ^= 1) {
    Writer writers[Lane::stores];
#pragma unroll
    for (int i = 0; i < Lane::stores; ++i) {
      if (stored(i)) writers[i].read(p, output, lane.row_of(i), out + lane.out_of(i));
    }

    lane.clear();
    for (int begin = 0; begin < p.in_features; begin += Lane::flight * Lane::stride) {
      next.begin += Lane::flight * Lane::stride;
      if (next.begin >= p.in_features) next.begin = 0, next.out += step;
      next.wanted = next.out - group_out < p.out_features;
      lane.multiply(x, out, begin, next);
    }
    lane.add_over_group(turn);

#pragma unroll
    for (int i = 0; i < Lane::stores; ++i) {
      if (!stored(i)) continue;
      const int o = out + lane.out_of(i), row = lane.row_of(i);
      writers[i].store(p, output, row, o, p.with_bias(o, lane.value(i) * x.factor(row)));
    }
  }
}

/// Enough warps a group for its pieces to be in flight at once, and, where there are few outputs, for the
/// blocks to occupy the device.
template <class Weight, int rows>
int choose_group_warps(std::int64_t in_features, std::int64_t out_features, int multiprocessors) {
  constexpr std::int64_t of_warp = Weight::warp_features;
  int warps = Weight::min_group_warps;
  while (warps < block_warps && in_features > of_warp * Weight::template in_flight<rows> * warps) warps *= 2;
  const auto blocks = [&] { return out_features * warps / (block_warps * Weight::group_outs); };
  while (warps < block_warps && blocks() < multiprocessors && in_features >= 2 * of_warp * warps) warps *= 2;
  return warps;
}

template <class T, class Weight, int rows, int group_warps, class Input, class Output>
void launch_group(const char* name, ExecContext& exec, const Product<T>& p, const Weight& weight,
                  const Input& input, const Output& output, int shared_bytes) {
  constexpr int without_asking = 12 << 10;  // beside up to 32 KiB that kernels have of their own
  const auto kernel = multiply<T, Weight, rows, group_warps, Input, Output>;
  if (shared_bytes > without_asking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name);
  const int tile_outs = block_warps / group_warps * Weight::group_outs;
  const int tiles = (p.out_features + tile_outs - 1) / tile_outs;
  const int blocks = Weight::blocks_abreast * properties(exec.device()).multiprocessors;
  launch_overlapped(name, exec, kernel, dim3(std::min(tiles, blocks)), dim3(block_threads),
                    static_cast<std::size_t>(shared_bytes), p, weight, input, output);
}

template <class T, int rows, class Weight, class Input, class Output>
void launch_rows(const char* name, ExecContext& exec, const Product<T>& p, const Weight& weight,
                 const Input& input, const Output& output, int shared_bytes) {
  const int warps = choose_group_warps<Weight, rows>(p.in_features, p.out_features,
                                                     properties(exec.device()).multiprocessors);
  const auto launch = [&]<int group_warps>(std::integral_constant<int, group_warps>) {
    launch_group<T, Weight, rows, group_warps>(name, exec, p, weight, input, output, shared_bytes);
  };
  if (warps == 8) return launch(std::integral_constant<int, 8>{});
  if constexpr (Weight::min_group_warps <= 4) {
    if (warps == 4) return launch(std::integral_constant<int, 4>{});
  }
  if constexpr (Weight::min_group_warps == 1) {
    if (warps == 2) return launch(std::integral_constant<int, 2>{});
    launch(std::integral_constant<int, 1>{});
  }
}

/// As many rows as the last of `capacities`; the Input uses so many bytes of shared memory.
template <class T, class Weight, class Input, class Output, int... capacities>
void launch(const char* name, ExecContext& exec, const Product<T>& p, const Weight& weight,
            const Input& input, const Output& output, int shared_bytes,
            std::integer_sequence<int, capacities...>) {
  bool launched = false;
  const auto launch_if_it_fits = [&]<int rows>(std::integral_constant<int, rows>) {
    if (!launched && p.rows <= rows)
      launch_rows<T, rows>(name, exec, p, weight, input, output, shared_bytes), launched = true;
  };
  (launch_if_it_fits(std::integral_constant<int, capacities>{}), ...);
}

template <class T, class Weight, class Input, class Output>
void launch(const char* name, ExecContext& exec, const Product<T>& p, const Weight& weight,
            const Input& input, const Output& output, int shared_bytes = 0) {
  launch<T>(name, exec, p, weight, input, output, shared_bytes, typename Weight::Capacities{});
}

inline bool is_aligned(const Tensor& tensor, std::int64_t ld) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0 && ld * size % 16 == 0;
}

inline const char* why_not(Device device, const LinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > max_rows) return "many rows: bound by arithmetic";
  const auto size = static_cast<std::int64_t>(size_of(args.weight.dtype()));
  if (shape.in_features * size % 16 != 0 || !is_aligned(args.x, shape.rows > 1 ? shape.ldx : 0) ||
      !is_aligned(args.weight, shape.ldw))
    return "rows of x or weight are not aligned to 16 bytes";
  if (args.bias && (args.bias.stride(0) != 1 ||
                    (args.bias.dtype() != DType::float32 && args.bias.dtype() != args.weight.dtype())))
    return "bias is neither dense float32 nor dense and of x's dtype";
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  if (shape.in_features >= limit || shape.out_features >= limit) return "an extent is beyond 30 bits";
  return nullptr;
}

/// The product of linear(args) or quantized_linear(args). Rows of another dtype than T are for an Input that
/// knows it.
template <class T, class Args>
Product<T> make_product(const Args& args) {
  const LinearShape shape = linear_shape(args);
  return {static_cast<const T*>(args.x.raw()),
          args.bias.raw(),
          args.out.raw(),
          shape.ldx,
          shape.ldout,
          static_cast<int>(shape.rows),
          static_cast<int>(shape.in_features),
          static_cast<int>(shape.out_features),
          args.bias.dtype() == DType::float32,
          args.out.dtype() == DType::float32,
          args.weight_is_constant,
          args.accumulate};
}

}  // namespace ophis::cuda::gemv
