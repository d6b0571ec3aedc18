// Floats as integers.
#pragma once

#include <bit>
#include <cstdint>

#include "ophis/core/macros.hpp"

namespace ophis {

/// Integers of the same order as floats; NaN above all.
OPHIS_INLINE_FUNCTION std::uint32_t ordered(float x) {
  if (x != x) return 0xffffffffu;
  const auto bits = std::bit_cast<std::uint32_t>(x + 0.0f);  // -0 is 0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
OPHIS_INLINE_FUNCTION float float_of(std::uint32_t ordered) {
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

}  // namespace ophis
