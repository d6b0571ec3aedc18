// Products of a few rows with a weight that is read once. A group of warps shares the rows of a few outputs:
// each lane asks for its 16-byte pieces of all of them at once, so that enough of the weight is on its way,
// and multiplies them with every row of the input. Where the weight is constant it asks before it waits for
// the kernel that computes the input. How the weight is stored, how rows come in and what becomes of the sums
// are a Weight (gemv_dense.cuh, gemv_codes.cuh), an Input (gemv_staged_input.cuh) and an Output.
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
  const void* bias;  // of T, or float32, or nullptr
  void* out;         // of T, or float32
  int ldx, ldout;
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

/// A weight's 16 bytes number `piece`, past the first-level cache: it is used once.
__device__ __forceinline__ uint4 load_weight(const void* weight, unsigned piece) {
  return __ldcs(static_cast<const uint4*>(weight) + piece);
}

/// Has a value computed where this is, rather than behind the wait where it is used first.
__device__ __forceinline__ void compute_now(int& value) { asm volatile("" : "+r"(value)); }

/// What is loaded next.
struct Next {
  int out, begin;  // the group's first output, the first input
  bool wanted;
};

template <class T>
__device__ Piece<T> load_piece(const T* from) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  return {v.x, v.y, v.z, v.w};
}

/// Rows as they are in global memory. In general an Input has a Reader, made before the kernel before has
/// ended, which may read what is constant then, and the rest in load(). It is given shared memory.
template <class T>
struct PlainInput {
  const T* x;

  struct Reader {
    const Product<T>& p;
    const T* const x;

    __device__ Reader(const Product<T>& p, const PlainInput& input, void*) : p(p), x(input.x) {}
    __device__ void load() {}
    /// Where a row begins, in elements.
    __device__ int row_begin(int row) const { return row * p.ldx; }
    /// Elements `at` and on of the row that begins there; zeros behind its end.
    __device__ Piece<T> piece(int row_begin, int at) const {
      return at < p.in_features ? load_piece(x + (row_begin + at)) : Piece<T>{};
    }
    /// What all of a row's sums are multiplied with.
    __device__ float factor(int) const { return 1.0f; }
  };
};

/// Stores the outputs. In general an Output has a Writer for an output that a lane stores: aim() says which,
/// and may read what is constant; read() reads the rest besides the sum, once the kernel before has ended.
template <class T>
struct PlainOutput {
  struct Writer {
    float old;

    __device__ void aim(const Product<T>&, const PlainOutput&, int, int) {}
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
  typename Input::Reader x(p, input, memory);
  lane.aim(x);
  typename Output::Writer writers[Lane::stores];
  const auto for_each_writer = [&](const auto& f) {
#pragma unroll
    for (int i = 0; i < Lane::stores; ++i) {
      const int row = lane.row_of(i), o = out + lane.out_of(i);
      if (lane.stores_it(i) && row < p.rows && o < p.out_features) f(writers[i], i, row, o);
    }
  };
  const auto aim = [&](auto& writer, int, int row, int o) { writer.aim(p, output, row, o); };
  for_each_writer(aim);
  if (p.weight_is_constant) wait_for_previous_kernel();
  x.load();

  Next next{out, 0, true};
  for (int turn = 0;; turn ^= 1) {
    for_each_writer([&](auto& writer, int, int row, int o) { writer.read(p, output, row, o); });

    lane.clear();
    for (int begin = 0; begin < p.in_features; begin += Lane::flight * Lane::stride) {
      next.begin += Lane::flight * Lane::stride;
      if (next.begin >= p.in_features) next.begin = 0, next.out += step;
      next.wanted = next.out - group_out < p.out_features;
      lane.multiply(x, begin, next);
    }
    lane.add_over_group(turn);

    for_each_writer([&](auto& writer, int i, int row, int o) {
      writer.store(p, output, row, o, p.with_bias(o, lane.value(i) * x.factor(row)));
    });
    if (out - group_out + step >= p.out_features) break;
    out += step;
    for_each_writer(aim);
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

/// For up to `most_rows` rows, by the kernels of the capacities that these need; the Input uses so many bytes
/// of shared memory.
template <int most_rows = max_rows, class T, class Weight, class Input, class Output>
void launch(const char* name, ExecContext& exec, const Product<T>& p, const Weight& weight,
            const Input& input, const Output& output, int shared_bytes = 0) {
  const auto launch_smallest = [&]<int... capacities>(std::integer_sequence<int, capacities...>) {
    bool launched = false;
    const auto launch_if_it_fits = [&]<int rows>(std::integral_constant<int, rows>) {
      constexpr bool needed = ((capacities < most_rows || capacities >= rows) && ...);
      if constexpr (needed) {
        if (!launched && p.rows <= rows)
          launch_rows<T, rows>(name, exec, p, weight, input, output, shared_bytes), launched = true;
      }
    };
    (launch_if_it_fits(std::integral_constant<int, capacities>{}), ...);
  };
  launch_smallest(typename Weight::Capacities{});
}

inline bool is_aligned(const Tensor& tensor, std::int64_t ld) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0 && ld * size % 16 == 0;
}

/// Why not, whatever the weight: `block` inputs of a row are read at once; a bias is of `dtype`, or float32.
template <class Args>
const char* why_not(Device device, const Args& args, std::int64_t block, DType dtype) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (properties(device).compute_capability < 80) return "needs compute capability 8.0";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > max_rows) return "many rows: bound by arithmetic";
  if (shape.in_features % block != 0 || !is_aligned(args.x, shape.rows > 1 ? shape.ldx : 0) ||
      !is_aligned(args.weight, shape.ldw))
    return "rows of x or weight are not aligned to 16 bytes";
  if (args.bias &&
      (args.bias.stride(0) != 1 || (args.bias.dtype() != DType::float32 && args.bias.dtype() != dtype)))
    return "bias is neither dense float32 nor dense and of x's dtype";
  // Offsets are 32 bits, in the weight those of 16 bytes.
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  const std::int64_t of_x = std::max(shape.rows * shape.ldx, shape.in_features);
  const std::int64_t of_out = std::max(shape.rows * shape.ldout, shape.out_features);
  if (std::max({of_x, of_out, shape.ldw, shape.out_features * shape.ldw / 4}) >= limit)
    return "an extent is beyond 30 bits";
  return nullptr;
}

/// The product of linear(args) or quantized_linear(args).
template <class T, class Args>
Product<T> make_product(const Args& args) {
  const LinearShape shape = linear_shape(args);
  return {args.bias.raw(),
          args.out.raw(),
          static_cast<int>(shape.ldx),
          static_cast<int>(shape.ldout),
          static_cast<int>(shape.rows),
          static_cast<int>(shape.in_features),
          static_cast<int>(shape.out_features),
          args.bias.dtype() == DType::float32,
          args.out.dtype() == DType::float32,
          args.weight_is_constant,
          args.accumulate};
}

}  // namespace ophis::cuda::gemv
