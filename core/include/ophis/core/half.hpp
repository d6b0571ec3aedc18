// The 16-bit floating point storage types. Arithmetic happens in float.
#pragma once

#include <bit>
#include <cstdint>

#include "ophis/core/macros.hpp"

namespace ophis {

/// bfloat16: the upper half of a float32. Rounds to nearest even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  OPHIS_INLINE_FUNCTION explicit bfloat16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  OPHIS_INLINE_FUNCTION explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  static OPHIS_INLINE_FUNCTION bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 value;
    value.bits = bits;
    return value;
  }

 private:
  static OPHIS_INLINE_FUNCTION std::uint16_t round(std::uint32_t word) {
    const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = word + 0x7fffu + ((word >> 16) & 1u);
    return static_cast<std::uint16_t>(is_nan ? (word >> 16) | 0x40u : rounded >> 16);
  }
};

/// IEEE binary16. Rounds to nearest even, with subnormals; overflow gives infinity; NaN stays NaN.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  OPHIS_INLINE_FUNCTION explicit float16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  OPHIS_INLINE_FUNCTION explicit operator float() const {
    // Multiplying by 2^112 moves the exponent's bias from 15 to 127, and is exact for subnormals.
    const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fffu) << 13;
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const bool is_special = (bits & 0x7c00u) == 0x7c00u;  // infinity or NaN: the exponent stays all ones
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
    const std::uint32_t special = magnitude | 0x7f800000u;
    return std::bit_cast<float>(sign | (is_special ? special : std::bit_cast<std::uint32_t>(scaled)));
  }
  static OPHIS_INLINE_FUNCTION float16 from_bits(std::uint16_t bits) {
    float16 value;
    value.bits = bits;
    return value;
  }

 private:
  static OPHIS_INLINE_FUNCTION std::uint16_t round(std::uint32_t word) {
    const std::uint32_t sign = (word >> 16) & 0x8000u;
    const std::uint32_t magnitude = word & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);  // NaN
    if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65536 and above: infinity
    if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves the subnormal's bits at the bottom, rounded
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
    }
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
};

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);

}  // namespace ophis
