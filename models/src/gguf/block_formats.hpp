// ggml's quantized elements as the codes that Ophis multiplies with.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "ophis/models/parameters.hpp"

namespace ophis::gguf {

/// A matrix (rows, columns): w[r, c] = scale[r, g] * code[r, c] + shift[r, g], with g the group of column c.
/// Without shifts the middle of the codes stands for zero. (quantized_linear.hpp)
struct UnpackedMatrix {
  OwnedTensor codes;  ///< (rows, columns * bits / 8) uint8; of two codes in a byte the first is the low half
  OwnedTensor scale;  ///< (rows, groups) float16 where the file has it so, else float32
  OwnedTensor shift;  ///< (rows, groups) float32, or none
  int bits = 8;
};

/// Whether unpack() knows the blocks of a type.
bool can_unpack(std::string_view type);
/// The types that unpack() knows, for messages: "Q4_0, ...".
std::string unpackable_types();

/// Reads blocks of a type that is known, `rows` times `columns` elements of them, which the reader of the
/// file has checked. Exact: in float32, scale * code + shift is what ggml makes of the block. Codes of at
/// most 4 bits take 4, others 8. Blocks that were read are given to `release`.
UnpackedMatrix unpack(std::string_view type, std::span<const std::byte> blocks, std::int64_t rows,
                      std::int64_t columns, const ReleaseFn& release = {});

/// The elements, float32.
OwnedTensor dequantize(const UnpackedMatrix& matrix);

}  // namespace ophis::gguf
