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
#include "ops/linear/store_outputs.hpp"

/// Of functions with vector instructions; the rest of the file runs on any CPU.
#define OPHIS_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace ophis::quantized_linear_vnni {
namespace {

constexpr int lanes = 16;         // of 32 bits
constexpr int vector_bytes = 64;  // of codes or digits
constexpr int digits = 3;         // of an input

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

/// Loads once what several products take; the compiler would load it again for each.
OPHIS_VNNI inline __m512i in_register(__m512i loaded) {
  asm("" : "+v"(loaded));
  return loaded;
}

/// The sum of the lanes of each.
OPHIS_VNNI inline __m128 reduce_add(const __m512 (&rows)[4]) {
  __m256 halves[4];
  for (int i = 0; i < 4; ++i)
    halves[i] = _mm256_add_ps(_mm512_castps512_ps256(rows[i]), _mm512_extractf32x8_ps(rows[i], 1));
  const __m256 sums =
      _mm256_hadd_ps(_mm256_hadd_ps(halves[0], halves[1]), _mm256_hadd_ps(halves[2], halves[3]));
  return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

/// What a block of codes meets of a row of x: its inputs are `scale` times integers, those are digits. Codes
/// are multiplied as the bytes in which they lie, 64 in a vector; a block has one or two vectors of digits.
///
/// Two codes of 4 bits are in a byte, which is low + 16 high. So that the byte need not be taken apart, its
/// second input, of a sixteenth of the scale, meets it whole, and what low gets too much of that is taken
/// from the first input, which meets low alone.
template <int bits, int vectors>
struct alignas(64) InputBlock {
  static constexpr int features = vector_bytes * vectors;
  static constexpr int bytes = features * bits / 8;
  /// Of a lane's sum of products, so that it has 32 bits.
  static constexpr int digits_of_part = bits == 4 ? 3 : 2;
  static constexpr int parts = (digits + digits_of_part - 1) / digits_of_part;

  std::int8_t digit[digits][features];  ///< the most significant first, each in vectors
  std::int32_t start[parts][lanes];     ///< -middle times x, what is added to sums of products
  float lane_sums[lanes];               ///< of x, with has_shift instead of start
  float scale;

  /// `middle` is subtracted from every code.
  template <bool has_shift, class T>
  OPHIS_VNNI void fill(const T* from, int middle) {
    constexpr int packs = features / lanes;
    // So that the first digit, rounded up, is at most 127; of 4 bits it may be 17/16 as large.
    constexpr int largest = (bits == 4 ? 119 : 127) << (8 * (digits - 1));
    const __m512 limit = _mm512_set1_ps(std::numeric_limits<float>::max());
    __m512 x[packs], reaches = _mm512_setzero_ps();
    bool finite = true;
    for (int k = 0; k < packs; ++k) {
      x[k] = load_some(0xffff, from + k * lanes);
      const __m512 magnitude = _mm512_abs_ps(x[k]);
      finite &= _mm512_cmp_ps_mask(magnitude, limit, _CMP_LE_OQ) == 0xffff;
      reaches = _mm512_max_ps(reaches, magnitude);
    }
    scale = _mm512_reduce_max_ps(reaches) / static_cast<float>(largest);
    // Below, x is nothing beside float32's range, and 1 / scale would be too large for it.
    if (scale < 1e-37f) scale = 0.0f;
    const __m512 inverse = _mm512_set1_ps(finite && scale > 0.0f ? 1.0f / scale : 0.0f);
    if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
    const auto integers = [&](int k) OPHIS_VNNI {
      return _mm512_cvtps_epi32(finite ? _mm512_mul_ps(x[k], inverse) : _mm512_setzero_ps());
    };
    if constexpr (bits == 8) {
      for (int k = 0; k < packs; ++k) store_digits(k * lanes, integers(k));
    } else {
      const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
      for (int k = 0; k < packs; k += 2) {
        const __m512i a = integers(k), b = integers(k + 1);
        const __m512i second = _mm512_permutex2var_epi32(a, odd, b);
        const __m512i of_byte = _mm512_srai_epi32(_mm512_add_epi32(second, _mm512_set1_epi32(8)), 4);
        const __m512i of_low = _mm512_sub_epi32(_mm512_permutex2var_epi32(a, even, b), of_byte);
        store_digits(k / 2 * lanes, of_byte);
        store_digits(vector_bytes + k / 2 * lanes, of_low);
      }
    }
    fill_sums<has_shift>(middle);
  }

 private:
  /// The digits of 16 numbers, from place `at` on.
  OPHIS_VNNI void store_digits(int at, __m512i numbers) {
    for (int d = digits - 1; d >= 0; --d) {
      _mm_store_si128(reinterpret_cast<__m128i*>(digit[d] + at), _mm512_cvtepi32_epi8(numbers));
      numbers = _mm512_srai_epi32(_mm512_add_epi32(numbers, _mm512_set1_epi32(128)), 8);
    }
  }

  template <bool has_shift>
  OPHIS_VNNI void fill_sums(int middle) {
    // What a code of 1 for all inputs would be.
    const __m512i one[] = {_mm512_set1_epi8(bits == 4 ? 17 : 1), _mm512_set1_epi8(1)};
    __m512 total = _mm512_setzero_ps();
    for (int part = 0, d = 0; part < parts; ++part) {
      __m512i sums = _mm512_setzero_si512();
      float place = 1.0f;
      for (int end = std::min(digits, d + digits_of_part); d < end; ++d, place *= 256.0f) {
        sums = _mm512_slli_epi32(sums, 8);
        for (int i = 0; i < vectors; ++i)
          sums = _mm512_dpbusd_epi32(sums, one[i], _mm512_load_si512(digit[d] + i * vector_bytes));
      }
      if constexpr (has_shift)
        total = _mm512_fmadd_ps(total, _mm512_set1_ps(place), _mm512_cvtepi32_ps(sums));
      else
        _mm512_store_si512(start[part], _mm512_mullo_epi32(sums, _mm512_set1_epi32(-middle)));
    }
    if constexpr (has_shift) _mm512_store_ps(lane_sums, _mm512_mul_ps(total, _mm512_set1_ps(scale)));
  }
};

/// Blocks [begin, end) of all rows of x, counted through.
template <class T, bool has_shift, class Block>
void prepare(const QuantizedLinearArgs& args, Block* to, std::int64_t begin, std::int64_t end, int middle) {
  const LinearShape shape = linear_shape(args);
  const std::int64_t per_row = shape.in_features / Block::features;
  for (std::int64_t i = begin; i < end; ++i) {
    const T* const from = args.x.data<T>() + i / per_row * shape.ldx + i % per_row * Block::features;
    to[i].template fill<has_shift>(from, middle);
  }
}

/// A weight's scales or shifts.
template <class Value>
struct GroupValues {
  const Value* values;
  std::int64_t stride, groups;

  /// Of 16 groups from `group` on, or as many as there are.
  OPHIS_VNNI __m512 load(std::int64_t row, std::int64_t group) const {
    const std::int64_t rest = groups - group;
    const auto which = static_cast<__mmask16>(rest >= lanes ? 0xffff : (1 << rest) - 1);
    const Value* const from = values + row * stride + group;
    __builtin_prefetch(from + 16 * lanes);  // of a later row
    return load_some(which, from);
  }
};

template <class Scale, int bits, int vectors>
struct Product {
  using Block = InputBlock<bits, vectors>;
  /// Far enough ahead that memory answers in time. Fetched line after line: rows are short streams, which the
  /// hardware sees too late.
  static constexpr int bytes_ahead = 8192;

  const Block* x;  // (rows, blocks)
  const std::uint8_t* codes;
  std::int64_t stride;  // bytes from row to row of the codes
  GroupValues<Scale> scale;
  GroupValues<float> shift;  // its values may be nullptr
  std::int64_t blocks;
  // A group is a run of blocks, or a block is several groups, each of them whole lanes.
  std::int64_t run, groups_of_run;

  /// Of N rows of the weight from `out` on with R rows of x from `row` on.
  template <int N, int R, bool has_shift>
  OPHIS_VNNI void dots(std::int64_t out, std::int64_t row, float (&to)[R][N]) const {
    __m512 sums[R][N];
    for (auto& of_row : sums) {
      for (__m512& sum : of_row) sum = _mm512_setzero_ps();
    }
    const std::uint8_t *at = codes + out * stride, *ahead = at + bytes_ahead;
    const Block* inputs = x + row * blocks;
    const Block* const end = inputs + blocks;
    for (std::int64_t group = 0; inputs < end; group += lanes) {
      alignas(64) float scales_at_hand[N][lanes], shifts_at_hand[N][lanes];  // of 16 groups
      for (int n = 0; n < N; ++n) {
        _mm512_store_ps(scales_at_hand[n], scale.load(out + n, group));
        if constexpr (has_shift) _mm512_store_ps(shifts_at_hand[n], shift.load(out + n, group));
      }
      for (std::int64_t k = 0; k < lanes && inputs < end; k += groups_of_run) {
        __m512 scales[N], shifts[N];
        for (int n = 0; n < N; ++n) {
          scales[n] = of_lanes(scales_at_hand[n], k);
          if constexpr (has_shift) shifts[n] = of_lanes(shifts_at_hand[n], k);
        }
        for (std::int64_t i = 0; i < run; ++i, ++inputs, at += Block::bytes) {
          for (int line = 0; line < N * Block::bytes; line += 64, ahead += 64) __builtin_prefetch(ahead);
          add_block<N, R, has_shift>(at, inputs, scales, shifts, sums);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      if constexpr (N == 4)
        _mm_storeu_ps(to[r], reduce_add(sums[r]));
      else
        to[r][0] = _mm512_reduce_add_ps(sums[r][0]);
    }
  }

 private:
  /// The values of the groups that a block consists of, of which k is the first, in the lanes of their codes.
  OPHIS_VNNI __m512 of_lanes(const float* groups, std::int64_t k) const {
    if (groups_of_run == 1) return _mm512_set1_ps(groups[k]);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto lanes_of_group = static_cast<unsigned>(lanes / groups_of_run);
    const __m512i group = _mm512_srli_epi32(lane, static_cast<unsigned>(__builtin_ctz(lanes_of_group)));
    const __m512i group_at_hand = _mm512_add_epi32(group, _mm512_set1_epi32(static_cast<int>(k)));
    return _mm512_permutexvar_ps(group_at_hand, _mm512_load_ps(groups));
  }

  template <int N, int R, bool has_shift>
  OPHIS_VNNI void add_block(const std::uint8_t* at, const Block* x_block, const __m512 (&scales)[N],
                            const __m512 (&shifts)[N], __m512 (&sums)[R][N]) const {
    __m512i values[N][vectors];
    for (int n = 0; n < N; ++n, at += stride) {
      for (int i = 0; i < Block::bytes; i += vector_bytes) {
        values[n][i / vector_bytes] = in_register(_mm512_loadu_si512(at + i));
      }
      if constexpr (bits == 4) values[n][1] = _mm512_and_si512(values[n][0], _mm512_set1_epi8(15));
    }
    for (int r = 0; r < R; ++r) {
      const Block& inputs = x_block[r * blocks];
      __m512 dots[N];
      for (int part = 0, d = 0; part < Block::parts; ++part) {
        __m512i products[N];
        for (__m512i& sum : products) sum = _mm512_setzero_si512();
        float place = 1.0f;
        for (const int end = std::min(digits, d + Block::digits_of_part); d < end; ++d, place *= 256.0f) {
          for (__m512i& sum : products) sum = _mm512_slli_epi32(sum, 8);
          for (int i = 0; i < vectors; ++i) {
            const __m512i digit = in_register(_mm512_load_si512(inputs.digit[d] + i * vector_bytes));
            for (int n = 0; n < N; ++n) products[n] = _mm512_dpbusd_epi32(products[n], values[n][i], digit);
          }
        }
        for (int n = 0; n < N; ++n) {
          if constexpr (!has_shift)
            products[n] = _mm512_add_epi32(products[n], _mm512_load_si512(inputs.start[part]));
          const __m512 sum = _mm512_cvtepi32_ps(products[n]);
          dots[n] = part == 0 ? sum : _mm512_fmadd_ps(dots[n], _mm512_set1_ps(place), sum);
        }
      }
      for (int n = 0; n < N; ++n) {
        const __m512 both_scales = _mm512_mul_ps(scales[n], _mm512_set1_ps(inputs.scale));
        sums[r][n] = _mm512_fmadd_ps(dots[n], both_scales, sums[r][n]);
        if constexpr (has_shift)
          sums[r][n] = _mm512_fmadd_ps(shifts[n], _mm512_load_ps(inputs.lane_sums), sums[r][n]);
      }
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

  /// Of N neighbouring outputs.
  template <int N>
  void store(std::int64_t row, std::int64_t o, const float (&sums)[N]) const {
    Pack<N> sum = load<N>(sums);
    if (bias) sum += load<N>(bias + o);
    store_outputs(out + row * ldout + o, N, sum, accumulate);
  }
};

/// Of outputs [begin, end) and all rows.
template <bool has_shift, class Product, class Out>
void multiply(const Product& product, const Outputs<Out>& outputs, std::int64_t rows, std::int64_t begin,
              std::int64_t end) {
  const auto tile = [&]<int N, int R>(std::integral_constant<int, N>, std::integral_constant<int, R>,
                                      std::int64_t o, std::int64_t row) {
    float sums[R][N];
    product.template dots<N, R, has_shift>(o, row, sums);
    for (int r = 0; r < R; ++r) outputs.store(row + r, o, sums[r]);
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

template <class T, class Out, class Scale, int bits, int vectors>
void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  using P = Product<Scale, bits, vectors>;
  using Block = typename P::Block;
  const LinearShape shape = linear_shape(args);
  const std::int64_t blocks = shape.in_features / Block::features, all_blocks = shape.rows * blocks;
  auto* const inputs = exec.workspace().take<Block>(all_blocks);
  const int middle = args.weight_shift ? 0 : static_cast<int>(middle_code(bits));
  constexpr std::int64_t blocks_worth_a_thread = 128;
  const std::int64_t parts = (all_blocks + blocks_worth_a_thread - 1) / blocks_worth_a_thread;
  for_ranges_on_host(parts, [&](std::int64_t begin, std::int64_t end) {
    begin *= blocks_worth_a_thread;
    end = std::min(all_blocks, end * blocks_worth_a_thread);
    if (args.weight_shift)
      prepare<T, true>(args, inputs, begin, end, middle);
    else
      prepare<T, false>(args, inputs, begin, end, middle);
  });

  const std::int64_t groups = args.weight_scale.extent(1), group_size = shape.in_features / groups;
  const P product{inputs,
                  args.weight.data<std::uint8_t>(),
                  shape.ldw,
                  {args.weight_scale.data<Scale>(), args.weight_scale.stride(0), groups},
                  {args.weight_shift ? args.weight_shift.data<float>() : nullptr,
                   args.weight_shift ? args.weight_shift.stride(0) : 0, groups},
                  blocks,
                  std::max<std::int64_t>(1, group_size / Block::features),
                  std::max<std::int64_t>(1, Block::features / group_size)};
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
    const std::int64_t in_features = args.x.extent(-1);
    if (code_bits(in_features, args.weight.extent(1)) == 4)
      run<T, Out, Scale, 4, 2>(exec, args);
    else if (in_features / args.weight_scale.extent(1) % InputBlock<8, 2>::features == 0)
      run<T, Out, Scale, 8, 2>(exec, args);
    else
      run<T, Out, Scale, 8, 1>(exec, args);
  });
}

}  // namespace

const char* why_not(Device device, const QuantizedLinearArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > quantized_linear_few_rows) return "many rows: bound by arithmetic";
  const bool is_int8 = code_bits(shape.in_features, args.weight.extent(1)) == 8;
  const std::int64_t features = is_int8 ? InputBlock<8, 1>::features : InputBlock<4, 2>::features;
  if (shape.in_features % features != 0) return "the inputs are not whole blocks of 64 bytes of codes";
  const std::int64_t group = shape.in_features / args.weight_scale.extent(1);
  if (group % features != 0 && features % group != 0) return "a group is neither blocks nor part of one";
  return nullptr;
}

void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_product_dtypes(
      args.x.dtype(), args.out.dtype(),
      [&]<class T, class Out>(std::type_identity<T>, std::type_identity<Out>) { run<T, Out>(exec, args); });
}

}  // namespace ophis::quantized_linear_vnni
