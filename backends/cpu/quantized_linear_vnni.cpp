// The weight's codes are multiplied as the bytes that they are, so that memory is what limits. For that an
// input becomes a fixed-point number of 23 bits, x / scale with a scale for each block of inputs, written
// with three digits from -128 to 127. A code meets all digits of its input, and the sums of products are
// integers, and exact, until the block's end.
#include "backends/cpu/quantized_linear_vnni.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ophis/core/host_parallel.hpp"
#include "ops/common/dense.hpp"
#include "ops/common/quantized.hpp"

/// Of functions with vector instructions; the rest of the file runs on any CPU.
#define OPHIS_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace ophis::quantized_linear_vnni {
namespace {

constexpr int lanes = 16;        // of 32 bits
constexpr int block_bytes = 64;  // of codes
constexpr int digits = 3;        // of an input

/// What a block of codes meets of a row of x.
template <int bits>
struct alignas(64) InputBlock {
  static constexpr int per_byte = 8 / bits;
  static constexpr int features = block_bytes * per_byte;
  static constexpr int features_per_lane = features / lanes;

  std::int8_t digit[digits][per_byte][block_bytes];  ///< the most significant first
  std::int32_t start[digits][lanes];                 ///< what the sums of products begin with
  float lane_sums[lanes];                            ///< of x
  float scale;

  /// `middle` is subtracted from every code.
  void fill(const float (&x)[features], int middle) {
    constexpr int largest = 127 << (8 * (digits - 1));  // so that the first digit, rounded up, is one
    float reach = 0.0f;
    bool finite = true;
    for (const float value : x) {
      reach = std::max(reach, std::fabs(value));
      finite &= std::isfinite(value);
    }
    scale = reach / static_cast<float>(largest);
    // Below, x is nothing beside float32's range, and 1 / scale would be too large for it.
    if (scale < 1e-37f) scale = 0.0f;
    const float inverse = finite && scale > 0.0f ? 1.0f / scale : 0.0f;
    if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
    std::int32_t sums[digits][lanes] = {};
    for (int i = 0; i < features; ++i) {
      const float scaled = inverse > 0.0f ? x[i] * inverse : 0.0f;
      auto rest = static_cast<std::int32_t>(scaled + std::copysign(0.5f, scaled));
      for (int d = digits - 1; d >= 0; --d) {
        const std::int32_t low = ((rest + 128) & 255) - 128;
        digit[d][i % per_byte][i / per_byte] = static_cast<std::int8_t>(low);
        sums[d][i / features_per_lane] += low;
        rest = (rest - low) >> 8;
      }
    }
    for (int lane = 0; lane < lanes; ++lane) {
      float sum = 0.0f;
      for (int d = 0; d < digits; ++d) {
        start[d][lane] = -middle * sums[d][lane];
        sum = sum * 256.0f + static_cast<float>(sums[d][lane]);
      }
      lane_sums[lane] = sum * scale;
    }
  }
};

/// Blocks [begin, end) of all rows of x, counted through.
template <class T, class Block>
void prepare(const QuantizedLinearArgs& args, Block* to, std::int64_t begin, std::int64_t end, int middle) {
  const LinearShape shape = linear_shape(args);
  const std::int64_t per_row = shape.in_features / Block::features;
  for (std::int64_t i = begin; i < end; ++i) {
    const T* const from = args.x.data<T>() + i / per_row * shape.ldx + i % per_row * Block::features;
    float x[Block::features];
    for (int k = 0; k < Block::features; ++k) x[k] = static_cast<float>(from[k]);
    to[i].fill(x, middle);
  }
}

OPHIS_VNNI inline __m512 load_some(__mmask16 which, const float* from) {
  return _mm512_maskz_loadu_ps(which, from);
}
OPHIS_VNNI inline __m512 load_some(__mmask16 which, const bfloat16* from) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(which, from)), 16));
}
OPHIS_VNNI inline __m512 load_some(__mmask16 which, const float16* from) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(which, from));
}

/// A weight's scales or shifts, by the lanes of a block. A lane is in one group.
template <class Value>
struct LaneValues {
  const Value* values;
  std::int64_t stride, groups;

  OPHIS_VNNI __m512 load(std::int64_t row, std::int64_t group, __m512i group_of_lane) const {
    const std::int64_t rest = groups - group;
    const auto which = static_cast<__mmask16>(rest >= lanes ? 0xffff : (1 << rest) - 1);
    return _mm512_permutexvar_ps(group_of_lane, load_some(which, values + row * stride + group));
  }
};

template <class Scale, int bits>
struct Product {
  using Block = InputBlock<bits>;
  static constexpr int per_byte = Block::per_byte;
  /// Far enough ahead that memory answers in time.
  static constexpr int bytes_ahead = 8192;

  const Block* x;  // (rows, blocks)
  const std::uint8_t* codes;
  std::int64_t stride;  // bytes from row to row of the codes
  LaneValues<Scale> scale;
  LaneValues<float> shift;  // its values may be nullptr
  std::int64_t blocks, group_size;

  /// Of N rows of the weight from `out` on with R rows of x from `row` on.
  template <int N, int R, bool has_shift>
  OPHIS_VNNI void dots(std::int64_t out, std::int64_t row, float (&to)[N][R]) const {
    const std::uint8_t* const from = codes + out * stride;
    const auto lanes_of_group =
        static_cast<int>(std::min<std::int64_t>(group_size, Block::features)) / Block::features_per_lane;
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i group_of_lane = _mm512_srli_epi32(lane, __builtin_ctz(lanes_of_group));
    const __m512i low_half = _mm512_set1_epi8(15);
    __m512 sums[N][R];
    for (auto& of_out : sums) {
      for (__m512& sum : of_out) sum = _mm512_setzero_ps();
    }
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t group = b * Block::features / group_size;
      __m512i values[N][per_byte];
      __m512 scales[N];
      for (int n = 0; n < N; ++n) {
        const std::uint8_t* const at = from + n * stride + b * block_bytes;
        __builtin_prefetch(at + bytes_ahead);
        values[n][0] = _mm512_loadu_si512(at);
        if constexpr (bits == 4) {
          values[n][1] = _mm512_and_si512(_mm512_srli_epi16(values[n][0], 4), low_half);
          values[n][0] = _mm512_and_si512(values[n][0], low_half);
        }
        scales[n] = scale.load(out + n, group, group_of_lane);
      }
      for (int r = 0; r < R; ++r) {
        const Block& inputs = x[(row + r) * blocks + b];
        __m512 dots[N];
        for (int d = 0; d < digits; ++d) {
          __m512i products[N];
          for (__m512i& sum : products)
            sum = has_shift ? _mm512_setzero_si512() : _mm512_load_si512(inputs.start[d]);
          for (int i = 0; i < per_byte; ++i) {
            const __m512i digit = _mm512_load_si512(inputs.digit[d][i]);
            for (int n = 0; n < N; ++n) products[n] = _mm512_dpbusd_epi32(products[n], values[n][i], digit);
          }
          for (int n = 0; n < N; ++n) {
            const __m512 sum = _mm512_cvtepi32_ps(products[n]);
            dots[n] = d == 0 ? sum : _mm512_fmadd_ps(dots[n], _mm512_set1_ps(256.0f), sum);
          }
        }
        for (int n = 0; n < N; ++n) {
          const __m512 both_scales = _mm512_mul_ps(scales[n], _mm512_set1_ps(inputs.scale));
          sums[n][r] = _mm512_fmadd_ps(dots[n], both_scales, sums[n][r]);
          if constexpr (has_shift) {
            const __m512 shifts = shift.load(out + n, group, group_of_lane);
            sums[n][r] = _mm512_fmadd_ps(shifts, _mm512_load_ps(inputs.lane_sums), sums[n][r]);
          }
        }
      }
    }
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < R; ++r) to[n][r] = _mm512_reduce_add_ps(sums[n][r]);
    }
  }
};

/// Where sums go.
template <class Out>
struct Outputs {
  const float* bias;  // or nullptr
  Out* out;
  std::int64_t ldout;
  bool accumulate;

  void store(std::int64_t row, std::int64_t o, float sum) const {
    Out& to = out[row * ldout + o];
    if (bias) sum += bias[o];
    to = Out(accumulate ? static_cast<float>(to) + sum : sum);
  }
};

/// Of outputs [begin, end) and all rows.
template <bool has_shift, class Product, class Out>
void multiply(const Product& product, const Outputs<Out>& outputs, std::int64_t rows, std::int64_t begin,
              std::int64_t end) {
  const auto tile = [&]<int N, int R>(std::integral_constant<int, N>, std::integral_constant<int, R>,
                                      std::int64_t o, std::int64_t row) {
    float sums[N][R];
    product.template dots<N, R, has_shift>(o, row, sums);
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < R; ++r) outputs.store(row + r, o + n, sums[n][r]);
    }
  };
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 4> four;
  std::int64_t o = begin;
  for (; o + 4 <= end; o += 4) {
    std::int64_t row = 0;
    for (; row + 4 <= rows; row += 4) tile(four, four, o, row);
    for (; row < rows; ++row) tile(four, one, o, row);
  }
  for (; o < end; ++o) {
    for (std::int64_t row = 0; row < rows; ++row) tile(one, one, o, row);
  }
}

template <class T, class Out, class Scale, int bits>
void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  using P = Product<Scale, bits>;
  using Block = typename P::Block;
  const LinearShape shape = linear_shape(args);
  const std::int64_t blocks = shape.in_features / Block::features, all_blocks = shape.rows * blocks;
  auto* const inputs = exec.workspace().take<Block>(all_blocks);
  const int middle = args.weight_shift ? 0 : static_cast<int>(middle_code(bits));
  constexpr std::int64_t blocks_worth_a_thread = 32;
  const std::int64_t parts = (all_blocks + blocks_worth_a_thread - 1) / blocks_worth_a_thread;
  for_ranges_on_host(parts, [&](std::int64_t begin, std::int64_t end) {
    prepare<T>(args, inputs, begin * blocks_worth_a_thread, std::min(all_blocks, end * blocks_worth_a_thread),
               middle);
  });

  const std::int64_t groups = args.weight_scale.extent(1);
  const P product{inputs,
                  args.weight.data<std::uint8_t>(),
                  shape.ldw,
                  {args.weight_scale.data<Scale>(), args.weight_scale.stride(0), groups},
                  {args.weight_shift ? args.weight_shift.data<float>() : nullptr,
                   args.weight_shift ? args.weight_shift.stride(0) : 0, groups},
                  blocks,
                  shape.in_features / groups};
  const Tensor bias = as_dense_float32(exec, args.bias);
  const Outputs<Out> outputs{bias ? bias.data<float>() : nullptr, args.out.data<Out>(), shape.ldout,
                             args.accumulate};
  for_ranges_on_host(shape.out_features, [&](std::int64_t begin, std::int64_t end) {
    if (args.weight_shift)
      multiply<true>(product, outputs, shape.rows, begin, end);
    else
      multiply<false>(product, outputs, shape.rows, begin, end);
  });
}

template <class T, class Out>
void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  dispatch_compute_dtype(args.weight_scale.dtype(), [&]<class Scale>(std::type_identity<Scale>) {
    if (code_bits(args.x.extent(-1), args.weight.extent(1)) == 8)
      run<T, Out, Scale, 8>(exec, args);
    else
      run<T, Out, Scale, 4>(exec, args);
  });
}

}  // namespace

const char* why_not(Device device, const QuantizedLinearArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > quantized_linear_few_rows) return "many rows: bound by arithmetic";
  const bool is_int8 = code_bits(shape.in_features, args.weight.extent(1)) == 8;
  const std::int64_t features = is_int8 ? InputBlock<8>::features : InputBlock<4>::features;
  if (shape.in_features % features != 0) return "the inputs are not whole blocks of 64 bytes of codes";
  const std::int64_t group = shape.in_features / args.weight_scale.extent(1);
  if (group % features != 0 && features % group != 0) return "a group is neither blocks nor part of one";
  return nullptr;
}

void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    if (args.out.dtype() == args.x.dtype())
      run<T, T>(exec, args);
    else
      run<T, float>(exec, args);
  });
}

}  // namespace ophis::quantized_linear_vnni
