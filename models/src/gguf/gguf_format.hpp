// The GGUF file format, versions 2 and 3: a header with metadata and the tensors' descriptions, then the
// data. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ophis/core/dtype.hpp"

namespace ophis::gguf {

inline constexpr std::string_view magic = "GGUF";
inline constexpr std::string_view extension = ".gguf";
inline constexpr std::uint32_t oldest_version = 2, newest_version = 3;
inline constexpr std::uint64_t default_alignment = 32;
inline constexpr std::uint32_t max_axes = 4;

/// Kinds of metadata values, numbered as in the file.
enum class ValueType : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  string,
  array,
  uint64,
  int64,
  float64
};
inline constexpr std::uint32_t value_types = 13;

/// How ggml stores the elements of a row: in blocks of so many bytes for so many of them.
struct TensorType {
  std::uint32_t id;
  std::string_view name;
  std::uint64_t block_elements, block_bytes;
  std::optional<DType> dtype = {};  ///< of elements that Ophis uses as they are
};

inline constexpr std::array<TensorType, 33> tensor_types{{
    {0, "F32", 1, 4, DType::float32},
    {1, "F16", 1, 2, DType::float16},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},
    {9, "Q8_1", 32, 40},
    {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},
    {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},
    {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1, DType::int8},
    {25, "I16", 1, 2, DType::int16},
    {26, "I32", 1, 4, DType::int32},
    {27, "I64", 1, 8, DType::int64},
    {28, "F64", 1, 8, DType::float64},
    {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2, DType::bfloat16},
    {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},
    {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},
}};

}  // namespace ophis::gguf
