// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>
#include <type_traits>

#include "ophis/core/error.hpp"
#include "ophis/core/half.hpp"

namespace ophis {

/// Element types. Ops compute on the first three; the rest carry ids, masks and what checkpoints hold.
enum class DType : std::uint8_t {
  float32,
  bfloat16,
  float16,
  float64,
  int64,
  int32,
  int16,
  int8,
  uint8,
  boolean
};

/// Bytes of one element.
std::size_t size_of(DType dtype) noexcept;

/// "float32", "bfloat16", ...
const char* to_string(DType dtype) noexcept;

/// The inverse of to_string, also taking the short names f32, bf16, f16, fp32, fp16 and safetensors' F32,
/// BF16, ... Throws Error(invalid_argument) that lists what is accepted.
DType parse_dtype(std::string_view name);

inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << to_string(dtype); }

/// float32, bfloat16 or float16: what the ops compute on.
constexpr bool is_compute_dtype(DType dtype) noexcept {
  return dtype == DType::float32 || dtype == DType::bfloat16 || dtype == DType::float16;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bfloat16;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::float16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::int64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::int32;
};
template <>
struct DTypeOf<std::int16_t> {
  static constexpr DType value = DType::int16;
};
template <>
struct DTypeOf<std::int8_t> {
  static constexpr DType value = DType::int8;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::uint8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};

/// The DType of a C++ element type.
template <class T>
inline constexpr DType dtype_of = DTypeOf<std::remove_cv_t<T>>::value;

/// Calls `f(std::type_identity<T>{})` with the C++ type of a compute dtype: the one place where run-time
/// dtypes become template arguments.
template <class F>
decltype(auto) dispatch_compute_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(std::type_identity<float>{});
    case DType::bfloat16:
      return f(std::type_identity<bfloat16>{});
    case DType::float16:
      return f(std::type_identity<float16>{});
    default:
      fail(ErrorCode::invalid_argument, "dtype ", dtype, " is not one of float32, bfloat16, float16");
  }
}

}  // namespace ophis
