#include "ophis/core/dtype.hpp"

#include <array>

namespace ophis {
namespace {

struct DTypeInfo {
  DType dtype;
  std::size_t size;
  const char* name;
  std::array<std::string_view, 3> aliases;
};

constexpr std::array<DTypeInfo, 10> dtype_table{{
    {DType::float32, 4, "float32", {"f32", "fp32", "F32"}},
    {DType::bfloat16, 2, "bfloat16", {"bf16", "BF16", "bf16"}},
    {DType::float16, 2, "float16", {"f16", "fp16", "F16"}},
    {DType::float64, 8, "float64", {"f64", "fp64", "F64"}},
    {DType::int64, 8, "int64", {"i64", "I64", "i64"}},
    {DType::int32, 4, "int32", {"i32", "I32", "i32"}},
    {DType::int16, 2, "int16", {"i16", "I16", "i16"}},
    {DType::int8, 1, "int8", {"i8", "I8", "i8"}},
    {DType::uint8, 1, "uint8", {"u8", "U8", "u8"}},
    {DType::boolean, 1, "boolean", {"bool", "BOOL", "bool"}},
}};

const DTypeInfo& info(DType dtype) { return dtype_table[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t size_of(DType dtype) noexcept { return info(dtype).size; }

const char* to_string(DType dtype) noexcept { return info(dtype).name; }

DType parse_dtype(std::string_view name) {
  for (const DTypeInfo& row : dtype_table) {
    if (name == row.name) return row.dtype;
    for (const std::string_view alias : row.aliases) {
      if (name == alias) return row.dtype;
    }
  }
  std::string known;
  for (const DTypeInfo& row : dtype_table) known += std::string(known.empty() ? "" : ", ") + row.name;
  fail(ErrorCode::invalid_argument, "unknown dtype '", name, "'; known: ", known);
}

}  // namespace ophis
