// The safetensors file format: 8 bytes with the length of the header (little-endian), the header in JSON, the
// data. https://huggingface.co/docs/safetensors
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ophis/core/dtype.hpp"

namespace ophis::safetensors {

inline constexpr std::uint64_t length_bytes = 8;
inline constexpr std::uint64_t max_header_bytes = 100'000'000;
inline constexpr std::string_view metadata_key = "__metadata__";

struct FormatDType {
  std::string_view name;
  std::uint64_t bits;
  std::optional<DType> dtype;
};

inline constexpr std::array<FormatDType, 20> dtypes{{
    {"F32", 32, DType::float32},  {"BF16", 16, DType::bfloat16}, {"F16", 16, DType::float16},
    {"F64", 64, DType::float64},  {"I64", 64, DType::int64},     {"I32", 32, DType::int32},
    {"I16", 16, DType::int16},    {"I8", 8, DType::int8},        {"U8", 8, DType::uint8},
    {"BOOL", 8, DType::boolean},  {"U16", 16, std::nullopt},     {"U32", 32, std::nullopt},
    {"U64", 64, std::nullopt},    {"C64", 64, std::nullopt},     {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt}, {"F8_E8M0", 8, std::nullopt},  {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt}, {"F4", 4, std::nullopt},
}};

}  // namespace ophis::safetensors
