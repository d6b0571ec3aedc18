// gemv.cuh's products with a weight of codes. A warp shares the rows of a few outputs: each lane asks for its
// 16-byte pieces of all of them at once, and for their scales. x lies in shared memory, in an order in which
// the lanes of a warp read neighbours. A code becomes a float by standing in the upper bits of the mantissa
// of 1: what that adds to a sum is the sum of x, which is taken off again a piece at a time.
#pragma once

#include "backends/cuda/gemv.cuh"
#include "ops/common/quantized_rows.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::cuda::gemv {

inline constexpr int quantized_warps = 4;                         // of a block
inline constexpr std::int64_t quantized_shared_bytes = 96 << 10;  // at most, for x

template <class T>
struct QuantizedProduct : Product<T> {
  const std::uint8_t* codes;
  GroupValues scale, shift;  // shift may be none
  std::int64_t stride;       // bytes from row to row of the codes
  int group_size;
};

/// How words of codes are taken apart.
template <int bits>
struct Codes {
  static constexpr int per_word = 32 / bits;
  static constexpr int per_piece = 4 * per_word;
  static constexpr float largest = static_cast<float>(1 << bits);

  /// 1 + code i / largest
  __device__ static float value(std::uint32_t word, int i) {
    const int shift = 23 - bits - i * bits;
    const std::uint32_t moved = shift >= 0 ? word << shift : word >> -shift;
    constexpr std::uint32_t mask = ((1u << bits) - 1) << (23 - bits);
    return __uint_as_float(0x3f800000u | (moved & mask));
  }
};

/// The inputs that one word of codes meets.
template <class T, int count>
struct Inputs {
  static constexpr int bytes = count * static_cast<int>(sizeof(T));
  using Access = std::conditional_t<bytes % 16 == 0, uint4, uint2>;
  static constexpr int accesses = bytes / static_cast<int>(sizeof(Access));
  Access parts[accesses];

  __device__ static Inputs load(const T* from) {
    Inputs to;
#pragma unroll
    for (int i = 0; i < accesses; ++i) to.parts[i] = reinterpret_cast<const Access*>(from)[i];
    return to;
  }
  __device__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < accesses; ++i) reinterpret_cast<Access*>(to)[i] = parts[i];
  }
  __device__ void unpack(float (&to)[count]) const {
    T values[count];
    memcpy(values, parts, sizeof values);
#pragma unroll
    for (int i = 0; i < count; ++i) to[i] = to_float(values[i]);
  }
};

/// A lane's pieces of the rows of its warp's outputs, and the scales of their groups.
template <int bits, int outs, int in_flight>
struct QuantizedPieces {
  uint4 codes[outs][in_flight];
  float scales[outs][in_flight];

  /// Those at first, first + 32, ... below `pieces`.
  template <class T>
  __device__ void load(const QuantizedProduct<T>& p, int out, int first, int pieces) {
#pragma unroll
    for (int o = 0; o < outs; ++o) {
      const int row = ::min(out + o, p.out_features - 1);
      const auto* const from = reinterpret_cast<const uint4*>(p.codes + row * p.stride);
#pragma unroll
      for (int k = 0; k < in_flight; ++k) {
        const int at = first + k * 32;
        codes[o][k] = at < pieces ? __ldcs(from + at) : uint4{};
        scales[o][k] = at < pieces ? p.scale(row, at * Codes<bits>::per_piece / p.group_size) : 0.0f;
      }
    }
  }
};

template <class T, int bits, int rows, int outs, class Output>
__global__ void __launch_bounds__(32 * quantized_warps)
    multiply_quantized(const __grid_constant__ QuantizedProduct<T> p, const __grid_constant__ Output output) {
  using C = Codes<bits>;
  using Unit = Inputs<T, C::per_word>;
  constexpr int in_flight = 12 / outs < 4 ? 3 : 4;
  constexpr int products = outs * rows;
  extern __shared__ uint4 shared[];
  T* const inputs = reinterpret_cast<T*>(shared);  // (rows, 4 words of a piece, pieces, codes of a word)
  const int pieces = p.in_features / C::per_piece;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int out = (blockIdx.x * quantized_warps + warp) * outs;

  start_next_kernel();
  if (!p.weight_is_constant) wait_for_previous_kernel();
  QuantizedPieces<bits, outs, in_flight> loaded;
  loaded.load(p, out, lane, pieces);
  if (p.weight_is_constant) wait_for_previous_kernel();

  const int my_out = out + lane / rows, my_row = lane % rows;
  const bool stores = lane < products && my_out < p.out_features && my_row < p.rows;
  typename Output::Writer writer(p, output, my_row, my_out, stores);

  for (int i = threadIdx.x; i < p.rows * pieces * 4; i += blockDim.x) {
    const int row = i / (pieces * 4), word = i % (pieces * 4);
    const int at = (row * 4 + word % 4) * pieces + word / 4;
    Unit::load(p.x + row * p.ldx + word * C::per_word).store(inputs + at * C::per_word);
  }
  __syncthreads();

  float sums[products] = {};
  for (int begin = lane; begin < pieces; begin += 32 * in_flight) {
    if (begin != lane) loaded.load(p, out, begin, pieces);
#pragma unroll
    for (int k = 0; k < in_flight; ++k) {
      const int piece = begin + k * 32;
      if (piece >= pieces) break;
      float dots[outs][rows] = {}, totals[rows] = {};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float codes[outs][C::per_word];
#pragma unroll
        for (int o = 0; o < outs; ++o) {
          const uint4& words = loaded.codes[o][k];
          const std::uint32_t word = j == 0 ? words.x : j == 1 ? words.y : j == 2 ? words.z : words.w;
#pragma unroll
          for (int i = 0; i < C::per_word; ++i) codes[o][i] = C::value(word, i);
        }
#pragma unroll
        for (int r = 0; r < rows; ++r) {
          const int row = ::min(r, p.rows - 1);
          float x[C::per_word];
          Unit::load(inputs + ((row * 4 + j) * pieces + piece) * C::per_word).unpack(x);
#pragma unroll
          for (int i = 0; i < C::per_word; ++i) {
            totals[r] += x[i];
#pragma unroll
            for (int o = 0; o < outs; ++o) dots[o][r] = fmaf(codes[o][i], x[i], dots[o][r]);
          }
        }
      }
#pragma unroll
      for (int o = 0; o < outs; ++o) {
        const float scale = loaded.scales[o][k];
        const int of_out = ::min(out + o, p.out_features - 1);
        const float shift =
            p.shift ? p.shift(of_out, piece * C::per_piece / p.group_size) : -0.5f * C::largest * scale;
        const float of_totals = shift - C::largest * scale;
#pragma unroll
        for (int r = 0; r < rows; ++r) {
          float& sum = sums[o * rows + r];
          sum = fmaf(C::largest * scale, dots[o][r], fmaf(of_totals, totals[r], sum));
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < products; ++i) {
    const float sum = warp_sum(sums[i]);
    if (stores && lane == i) writer.store(p, output, my_row, my_out, p.with_bias(my_out, sum));
  }
}

template <class T, int bits, int rows, int outs, class Output>
void launch_quantized(const char* name, ExecContext& exec, const QuantizedProduct<T>& p,
                      const Output& output) {
  constexpr int block_outs = quantized_warps * outs;
  const auto kernel = multiply_quantized<T, bits, rows, outs, Output>;
  const std::size_t shared = static_cast<std::size_t>(p.rows) * p.in_features * sizeof(T);
  constexpr std::size_t without_asking = 48 << 10;
  if (shared > without_asking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          name);
  launch_overlapped(name, exec, kernel, dim3((p.out_features + block_outs - 1) / block_outs),
                    dim3(32 * quantized_warps), shared, p, output);
}

/// More outputs a warp mean fewer reads of x; fewer, more blocks where there are few outputs.
template <class T, int bits, int rows, class Output>
void launch_quantized(const char* name, ExecContext& exec, const QuantizedProduct<T>& p,
                      const Output& output) {
  if constexpr (rows <= 2) {  // more sums than these take too many registers
    const int blocks = p.out_features / (4 * quantized_warps);
    if (blocks >= 4 * properties(exec.device()).multiprocessors)
      return launch_quantized<T, bits, rows, 4>(name, exec, p, output);
  }
  launch_quantized<T, bits, rows, 2>(name, exec, p, output);
}

/// One to max_rows rows.
template <class T, int bits, class Output>
void launch_quantized(const char* name, ExecContext& exec, const QuantizedProduct<T>& p,
                      const Output& output) {
  if (p.rows == 1) return launch_quantized<T, bits, 1>(name, exec, p, output);
  if (p.rows == 2) return launch_quantized<T, bits, 2>(name, exec, p, output);
  if (p.rows <= 4) return launch_quantized<T, bits, 4>(name, exec, p, output);
  launch_quantized<T, bits, 8>(name, exec, p, output);
}

inline int bits_of(const QuantizedLinearArgs& args) {
  return code_bits(args.x.extent(-1), args.weight.extent(1));
}

inline const char* why_not(Device device, const QuantizedLinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > max_rows) return "many rows: bound by arithmetic";
  const auto size = static_cast<std::int64_t>(size_of(args.x.dtype()));
  if (shape.rows * shape.in_features * size > quantized_shared_bytes)
    return "x does not fit in shared memory";
  const std::int64_t per_piece = 128 / bits_of(args);
  if (shape.in_features % per_piece != 0 || !is_aligned(args.x, shape.rows > 1 ? shape.ldx : 0) ||
      !is_aligned(args.weight, shape.ldw))
    return "rows of x or weight are not aligned to 16 bytes";
  if (shape.in_features / args.weight_scale.extent(1) % per_piece != 0) return "groups are small";
  if (args.bias && (args.bias.stride(0) != 1 ||
                    (args.bias.dtype() != DType::float32 && args.bias.dtype() != args.x.dtype())))
    return "bias is neither dense float32 nor dense and of x's dtype";
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  if (shape.out_features >= limit) return "an extent is beyond 30 bits";
  return nullptr;
}

template <class T>
QuantizedProduct<T> make_product(const QuantizedLinearArgs& args) {
  const LinearShape shape = linear_shape(args);
  Product<T> product{args.x.data<T>(),
                     nullptr,
                     args.bias.raw(),
                     args.out.raw(),
                     shape.ldx,
                     0,
                     shape.ldout,
                     static_cast<int>(shape.rows),
                     static_cast<int>(shape.in_features),
                     static_cast<int>(shape.out_features),
                     args.bias.dtype() == DType::float32,
                     args.out.dtype() == DType::float32,
                     args.weight_is_constant,
                     args.accumulate};
  return {product,
          args.weight.data<std::uint8_t>(),
          GroupValues(args.weight_scale),
          GroupValues(args.weight_shift),
          shape.ldw,
          static_cast<int>(shape.in_features / args.weight_scale.extent(1))};
}

template <class T, class Output>
void run_quantized(const char* name, ExecContext& exec, const QuantizedLinearArgs& args,
                   const Output& output) {
  const QuantizedProduct<T> product = make_product<T>(args);
  if (bits_of(args) == 8)
    launch_quantized<T, 8>(name, exec, product, output);
  else
    launch_quantized<T, 4>(name, exec, product, output);
}

}  // namespace ophis::cuda::gemv
