// Weights as codes with scales: their sizes, and how ops check them.
#pragma once

#include <cstdint>

#include "ophis/core/tensor.hpp"
#include "ops/common/check.hpp"

namespace ophis {

/// Bits of a code where a row of `features` codes has `bytes` bytes; 0 if they do not fit each other.
constexpr int code_bits(std::int64_t features, std::int64_t bytes) {
  if (features % 8 != 0) return 0;
  return bytes == features ? 8 : 2 * bytes == features ? 4 : 0;
}

/// The middle of the codes' range: what stands for zero in a weight without shifts.
constexpr float middle_code(int bits) { return static_cast<float>(1 << (bits - 1)); }

/// Checks the tensors of a weight (out_features, in_features): weight, weight_scale, weight_shift.
void check_quantized(const ArgumentChecker& check, const Tensor& weight, const Tensor& scale,
                     const Tensor& shift, std::int64_t out_features, std::int64_t in_features);

}  // namespace ophis
