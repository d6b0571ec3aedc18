// Products of a few rows with a weight that is read once. A group of warps shares the rows of two outputs:
// each lane asks for its 16-byte pieces of both at once, so that enough of the weight is on its way, and
// multiplies them with every row of the input. Where the weight is constant it asks before it waits for the
// kernel that computes the input. How rows come in and what becomes of the sums are an Input and an Output.
#pragma once

#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/vector_access.cuh"
#include "ops/linear/linear_impl.hpp"

namespace ophis::cuda::gemv {

inline constexpr int max_rows = 8;
inline constexpr int block_warps = 8;
inline constexpr int group_outs = 2;        // outputs of a group of warps
inline constexpr int pieces_in_flight = 5;  // of each output, for a lane
inline constexpr int blocks_abreast = 2;    // on a multiprocessor

template <class T>
inline constexpr int piece = 16 / sizeof(T);  // elements of an access

template <class T>
using Piece = Packed<T, piece<T>>;

/// x weight^T + bias, and where it goes.
template <class T>
struct Product {
  const T* x;
  const T* weight;
  const void* bias;  // of T, or float32, or nullptr
  void* out;         // of T, or float32
  std::int64_t ldx, ldw, ldout;
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

/// A lane's pieces of the rows of its group's outputs.
template <class T>
struct Pieces {
  Piece<T> of_outs[group_outs][pieces_in_flight];

  /// The piece k at `at`, or zeros unless that is wanted and in the row.
  __device__ void load(const Product<T>& p, int out, int k, int at, bool wanted) {
#pragma unroll
    for (int o = 0; o < group_outs; ++o) {
      const T* const row = p.weight + min(out + o, p.out_features - 1) * p.ldw;
      of_outs[o][k] = wanted && at < p.in_features ? load_weight(row + at) : Piece<T>{};
    }
  }
};

/// The values of the whole block's sums of one group, added in the order of its warps. Calls in a row give
/// `turn` 0 and 1 in turn.
template <int count, int group_warps>
__device__ void add_over_group(float (&sums)[count], int turn) {
#pragma unroll
  for (int i = 0; i < count; ++i) sums[i] = warp_sum(sums[i]);
  if constexpr (group_warps > 1) {
    __shared__ float memory[2][block_warps][count];
    auto& of_warps = memory[turn];
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

/// Rows as they are in global memory. In general an Input has a Reader, made before the kernel before has
/// ended, which may read what is constant then, and the rest in load().
template <class T>
struct PlainInput {
  template <int rows>
  struct Reader {
    const T* x;
    std::int64_t ldx;

    __device__ Reader(const Product<T>& p, const PlainInput&) : x(p.x), ldx(p.ldx) {}
    __device__ void load() {}
    __device__ Piece<T> piece(int row, int at) const { return load_shared(x + row * ldx + at); }
    __device__ float factor(int) const { return 1.0f; }
  };
};

/// Stores the outputs. In general an Output has a Writer, made once the kernel before has ended for the one
/// output that a lane will store, if any, and which can so read early what it needs besides.
template <class T>
struct PlainOutput {
  struct Writer {
    float old;

    __device__ Writer(const Product<T>& p, const PlainOutput&, int row, int o, bool stores)
        : old(stores ? p.old(row, o) : 0.0f) {}
    __device__ void store(const Product<T>& p, const PlainOutput&, int row, int o, float value) const {
      p.store(row, o, value + old);
    }
  };
};

/// A block takes every so manyth tile of outputs. What it has multiplied it replaces at once by what comes
/// next, be that of the next tile, so that its loads never pause.
template <class T, int rows, int group_warps, class Input, class Output>
__global__ void __launch_bounds__(32 * block_warps, blocks_abreast)
    multiply(const __grid_constant__ Product<T> p, const __grid_constant__ Input input,
             const __grid_constant__ Output output) {
  constexpr int tile_outs = block_warps / group_warps * group_outs;
  constexpr int stride = 32 * group_warps * piece<T>;
  constexpr int products = group_outs * rows;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group_out = warp / group_warps * group_outs;
  const int first = (warp % group_warps * 32 + lane) * piece<T>;
  const int step = static_cast<int>(gridDim.x) * tile_outs;
  int out = static_cast<int>(blockIdx.x) * tile_outs + group_out;

  start_next_kernel();
  if (!p.weight_is_constant) wait_for_previous_kernel();
  Pieces<T> pieces;
#pragma unroll
  for (int k = 0; k < pieces_in_flight; ++k) pieces.load(p, out, k, first + k * stride, true);
  typename Input::template Reader<rows> x(p, input);
  if (p.weight_is_constant) wait_for_previous_kernel();
  x.load();

  int next_out = out, next = 0;  // of what is loaded next
  for (int turn = 0; out - group_out < p.out_features; out += step, turn ^= 1) {
    // The sum of output o and row r is stored by the lane o * rows + r of the group's first warp.
    const int my_out = out + lane / rows, my_row = lane % rows;
    const bool stores =
        warp % group_warps == 0 && lane < products && my_out < p.out_features && my_row < p.rows;
    typename Output::Writer writer(p, output, my_row, my_out, stores);

    float sums[products] = {};
    for (int begin = first; begin - first < p.in_features; begin += pieces_in_flight * stride) {
      next += pieces_in_flight * stride;
      if (next >= p.in_features) next = 0, next_out += step;
      const bool more = next_out - group_out < p.out_features;
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const int row = min(r, p.rows - 1);
        Piece<T> of_row[pieces_in_flight];
#pragma unroll
        for (int k = 0; k < pieces_in_flight; ++k) {
          const int at = begin + k * stride;
          of_row[k] = at < p.in_features ? x.piece(row, at) : Piece<T>{};
        }
#pragma unroll
        for (int k = 0; k < pieces_in_flight; ++k) {
          float values[piece<T>];
          unpack(of_row[k], values);
#pragma unroll
          for (int o = 0; o < group_outs; ++o) {
            float weights[piece<T>];
            unpack(pieces.of_outs[o][k], weights);
#pragma unroll
            for (int i = 0; i < piece<T>; ++i) {
              sums[o * rows + r] = fmaf(weights[i], values[i], sums[o * rows + r]);
            }
          }
          if (r == rows - 1) pieces.load(p, next_out, k, next + first + k * stride, more);
        }
      }
    }
    add_over_group<products, group_warps>(sums, turn);

#pragma unroll
    for (int i = 0; i < products; ++i) {
      if (!stores || lane != i) continue;
      writer.store(p, output, my_row, my_out, p.with_bias(my_out, sums[i] * x.factor(my_row)));
    }
  }
}

/// Enough warps a group for its pieces to be in flight at once, and, where there are few outputs, for the
/// blocks to occupy the device.
inline int choose_group_warps(std::int64_t in_features, std::int64_t out_features, int piece_size,
                              int multiprocessors) {
  int warps = 1;
  while (warps < block_warps && in_features > std::int64_t{32} * piece_size * pieces_in_flight * warps)
    warps *= 2;
  const auto blocks = [&] { return out_features * warps / (block_warps * group_outs); };
  while (warps < block_warps && blocks() < multiprocessors && in_features >= 64 * piece_size * warps)
    warps *= 2;
  return warps;
}

template <class T, int rows, class Input, class Output>
void launch_rows(const char* name, ExecContext& exec, const Product<T>& p, const Input& input,
                 const Output& output, int shared_bytes) {
  const int multiprocessors = properties(exec.device()).multiprocessors;
  const int warps = choose_group_warps(p.in_features, p.out_features, piece<T>, multiprocessors);
  const int tile_outs = block_warps / warps * group_outs;
  const int tiles = (p.out_features + tile_outs - 1) / tile_outs;
  const auto kernel = warps == 1   ? multiply<T, rows, 1, Input, Output>
                      : warps == 2 ? multiply<T, rows, 2, Input, Output>
                      : warps == 4 ? multiply<T, rows, 4, Input, Output>
                                   : multiply<T, rows, 8, Input, Output>;
  launch_overlapped(name, exec, kernel, dim3(std::min(tiles, blocks_abreast * multiprocessors)),
                    dim3(32 * block_warps), static_cast<std::size_t>(shared_bytes), p, input, output);
}

/// One to most_rows rows; the Input may use shared memory.
template <class T, int most_rows = max_rows, class Input, class Output>
void launch(const char* name, ExecContext& exec, const Product<T>& p, const Input& input,
            const Output& output, int shared_bytes = 0) {
  if (p.rows == 1) return launch_rows<T, 1>(name, exec, p, input, output, shared_bytes);
  if (p.rows == 2) return launch_rows<T, 2>(name, exec, p, input, output, shared_bytes);
  if constexpr (most_rows == 4) {
    launch_rows<T, 4>(name, exec, p, input, output, shared_bytes);
  } else {
    if (p.rows <= 4) return launch_rows<T, 4>(name, exec, p, input, output, shared_bytes);
    launch_rows<T, 8>(name, exec, p, input, output, shared_bytes);
  }
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

/// Rows of another dtype than T are for an Input that knows it.
template <class T>
Product<T> make_product(const LinearArgs& args, const LinearShape& shape) {
  return {static_cast<const T*>(args.x.raw()),
          args.weight.data<T>(),
          args.bias.raw(),
          args.out.raw(),
          shape.ldx,
          shape.ldw,
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
