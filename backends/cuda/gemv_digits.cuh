// Rows of an input as fixed-point numbers of 23 bits, with a power of two for each block of a row, in three
// digits from -128 to 127, which tensor cores multiply with codes.
#pragma once

#include "backends/cuda/gemv_staged_input.cuh"

namespace ophis::cuda::gemv {

inline constexpr int digits = 3;

/// The larger one's absolute value; NaN if one is NaN.
__device__ __forceinline__ float larger(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(fabsf(a)), "f"(fabsf(b)));
  return result;
}

/// Columns for StagedInput, in the order in which codes of `bits` bits come out of their words.
template <class T, int bits>
struct DigitColumns {
  static constexpr int run = 8;             // inputs that a lane stores at once
  static constexpr int piece = 128 / bits;  // whose codes a lane reads at once

  bool with_totals;  // of pieces

  /// Bytes from digit to digit of a row, which begin in other banks of shared memory.
  __host__ __device__ static int digit_stride(int in_features) {
    return padded(in_features) + (bits == 8 ? 64 : 16);
  }
  /// Bytes from row to row: digits, scales of blocks, totals of pieces.
  __host__ __device__ static int stride(int in_features) {
    const int floats = padded(in_features) / staged_block + padded(in_features) / piece;
    return digits * digit_stride(in_features) + (floats + 3) / 4 * 16;
  }
  __host__ __device__ static int bytes(int rows, int in_features) { return rows * stride(in_features); }

  /// Where a digit of a row begins, in bytes.
  __device__ static int digit_begin(int in_features, int row, int digit) {
    return row * stride(in_features) + digit * digit_stride(in_features);
  }
  /// Where a row's scales begin.
  __device__ static int scales_begin(int in_features, int row) {
    return digit_begin(in_features, row, digits);
  }
  /// Where its totals begin.
  __device__ static int totals_begin(int in_features, int row) {
    return scales_begin(in_features, row) + padded(in_features) / staged_block * 4;
  }

  /// The digits of four numbers, a word each, from the numbers plus 0x808080.
  __device__ static void split(std::uint32_t (&words)[digits], const std::uint32_t (&q)[4]) {
    const std::uint32_t low01 = __byte_perm(q[0], q[1], 0x5140), low23 = __byte_perm(q[2], q[3], 0x5140);
    const std::uint32_t high01 = __byte_perm(q[0], q[1], 0x0062), high23 = __byte_perm(q[2], q[3], 0x0062);
    words[0] = __byte_perm(high01, high23, 0x5410) ^ 0x80808080u;
    words[1] = __byte_perm(low01, low23, 0x7632) ^ 0x80808080u;
    words[2] = __byte_perm(low01, low23, 0x5410) ^ 0x80808080u;
  }

  __device__ void store(void* memory, const Product<T>& p, int row, int at,
                        const float (&values)[run]) const {
    float largest = larger(values[0], values[1]);
#pragma unroll
    for (int i = 2; i < run; ++i) largest = larger(largest, values[i]);
    const std::uint32_t most = __reduce_max_sync(0xffffffffu, __float_as_uint(largest));
    const std::uint32_t exponent = max(most >> 23, 27u);  // biased
    const float factor = __uint_as_float((275u - exponent) << 23);

    // In the lowest bits of a float of 1.5 2^23 and more stands an integer; plus 128 in each digit's place it
    // has the digits, plus 128, as its bytes.
    std::uint32_t q[2][4];
#pragma unroll
    for (int i = 0; i < run; ++i) {
      const std::uint32_t integer = __float_as_uint(fmaf(values[i], factor, 12582912.0f)) - 0x4b400000u;
      // Of 4 bits, codes 0, 2, 4, 6 of a word come first, then 1, 3, 5, 7.
      (bits == 8 ? q[i / 4][i % 4] : q[i % 2][i / 2]) = integer + 0x808080u;
    }
    std::uint32_t words[2][digits];
    split(words[0], q[0]);
    split(words[1], q[1]);
    char* const to = static_cast<char*>(memory) + digit_begin(p.in_features, row, 0) + at;
#pragma unroll
    for (int d = 0; d < digits; ++d)
      *reinterpret_cast<uint2*>(to + d * digit_stride(p.in_features)) = make_uint2(words[0][d], words[1][d]);

    constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fffffffu;
    auto* const scales =
        reinterpret_cast<std::uint32_t*>(static_cast<char*>(memory) + scales_begin(p.in_features, row));
    if (at % staged_block == 0) scales[at / staged_block] = most < infinity ? (exponent - 21u) << 23 : nan;
    if (with_totals) store_total(memory, p, row, at, values);
  }

  __device__ void store_total(void* memory, const Product<T>& p, int row, int at,
                              const float (&values)[run]) const {
    float total = ((values[0] + values[1]) + (values[2] + values[3])) +
                  ((values[4] + values[5]) + (values[6] + values[7]));
#pragma unroll
    for (int lanes = piece / run / 2; lanes > 0; lanes /= 2)
      total += __shfl_xor_sync(0xffffffffu, total, lanes);
    auto* const totals =
        reinterpret_cast<float*>(static_cast<char*>(memory) + totals_begin(p.in_features, row));
    if (at % piece == 0) totals[at / piece] = total;
  }
};

}  // namespace ophis::cuda::gemv
