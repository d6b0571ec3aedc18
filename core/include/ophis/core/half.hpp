// The 16-bit floating point storage types. Arithmetic happens in float.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "ophis/core/macros.hpp"

namespace ophis {

namespace detail {

// The conversions work on the bits of one number (Word = uint32_t) or of a vector of them (a GCC vector of
// uint32_t): comparisons and ?: mean the same, lane by lane.

/// The bits of a float32 to those of the nearest bfloat16 (ties to even; NaN stays NaN).
template <class Word>
OPHIS_INLINE_FUNCTION Word float_to_bfloat16_bits(Word word) {
  const Word quiet_nan = (word >> 16) | 0x40u;
  const Word rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  return (word & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded;
}

/// The bits of a float16 to those of the equal float32.
template <class Float, class Word>
OPHIS_INLINE_FUNCTION Word float16_to_float_bits(Word half) {
#if defined(__HIP_DEVICE_COMPILE__)  // one instruction
  if constexpr (std::is_same_v<Word, std::uint32_t>)
    return std::bit_cast<Word>(static_cast<float>(std::bit_cast<_Float16>(static_cast<std::uint16_t>(half))));
#endif
  const Word magnitude = (half & 0x7fffu) << 13;
  const Word sign = (half & 0x8000u) << 16;
  // The product moves the exponent's bias from 15 to 127 and is exact, for subnormals too.
  const Word finite = std::bit_cast<Word>(std::bit_cast<Float>(magnitude) * 0x1p112f);
  const Word special = magnitude | 0x7f800000u;  // infinity and NaN
  return sign | ((half & 0x7c00u) == 0x7c00u ? special : finite);
}

/// The bits of a float32 to those of the nearest float16 (ties to even, subnormals kept, overflow to
/// infinity).
template <class Float, class Word>
OPHIS_INLINE_FUNCTION Word float_to_float16_bits(Word word) {
#if defined(__HIP_DEVICE_COMPILE__)
  if constexpr (std::is_same_v<Word, std::uint32_t>)
    return std::bit_cast<std::uint16_t>(static_cast<_Float16>(std::bit_cast<float>(word)));
#endif
  const Word sign = (word >> 16) & 0x8000u;
  const Word magnitude = word & 0x7fffffffu;
  const Word normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  // Below 2^-14: adding 0.5 rounds to a multiple of 2^-24 and leaves it in the low bits.
  const Word subnormal = std::bit_cast<Word>(std::bit_cast<Float>(magnitude) + 0.5f) - 0x3f000000u;
  const Word infinity = Word{} + 0x7c00u;
  const Word nan = Word{} + 0x7e00u;
  Word result = magnitude < 0x38800000u ? subnormal : normal;
  result = magnitude >= 0x47800000u ? infinity : result;  // 65536 and above
  result = magnitude > 0x7f800000u ? nan : result;
  return sign | result;
}

}  // namespace detail

/// The upper half of a float32. Rounds to nearest even.
struct bfloat16 {
  std::uint16_t bits;  ///< as they are stored

  bfloat16() = default;
  /// The nearest value; ties to even, NaN stays NaN.
  OPHIS_INLINE_FUNCTION explicit bfloat16(float value)
      : bits(
            static_cast<std::uint16_t>(detail::float_to_bfloat16_bits(std::bit_cast<std::uint32_t>(value)))) {
  }
  /// Exact.
  OPHIS_INLINE_FUNCTION explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE 754 binary16. Rounds to nearest even.
struct float16 {
  std::uint16_t bits;  ///< as they are stored

  float16() = default;
  /// The nearest value; ties to even, overflow to infinity, NaN stays NaN.
  OPHIS_INLINE_FUNCTION explicit float16(float value)
      : bits(static_cast<std::uint16_t>(
            detail::float_to_float16_bits<float>(std::bit_cast<std::uint32_t>(value)))) {}
  /// Exact.
  OPHIS_INLINE_FUNCTION explicit operator float() const {
    return std::bit_cast<float>(detail::float16_to_float_bits<float>(static_cast<std::uint32_t>(bits)));
  }
};

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);

}  // namespace ophis
