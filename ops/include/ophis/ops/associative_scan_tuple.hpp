// What the functor of an associative scan works on: one value of each scanned tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "ophis/core/half.hpp"
#include "ophis/core/macros.hpp"

namespace ophis {

namespace detail {

template <std::size_t I, class T>
struct ScanLeaf {
  T value;
};

template <class Indices, class... Ts>
struct ScanLeaves;
template <std::size_t... I, class... Ts>
struct ScanLeaves<std::index_sequence<I...>, Ts...> : ScanLeaf<I, Ts>... {
  ScanLeaves() = default;
  OPHIS_INLINE_FUNCTION ScanLeaves(Ts... values) : ScanLeaf<I, Ts>{values}... {}
};

template <class T>
struct ScanValueOf {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int32_t> ||
                    std::is_same_v<T, std::int64_t>,
                "a scan takes float, bfloat16, float16, double, std::int32_t and std::int64_t");
  using type = T;
};
template <>
struct ScanValueOf<bfloat16> {
  using type = float;
};
template <>
struct ScanValueOf<float16> {
  using type = float;
};

}  // namespace detail

/// A tuple that device code can use, as trivial as its members: ScanTuple<float, float> t{a, b}; get<0>(t).
template <class... Ts>
struct ScanTuple : detail::ScanLeaves<std::index_sequence_for<Ts...>, Ts...> {
  static_assert(sizeof...(Ts) >= 1);
  ScanTuple() = default;
  /// One value for each tensor.
  OPHIS_INLINE_FUNCTION ScanTuple(Ts... values)
      : detail::ScanLeaves<std::index_sequence_for<Ts...>, Ts...>(values...) {}
};

/// The I-th value of a ScanTuple.
template <std::size_t I, class T>
OPHIS_INLINE_FUNCTION T& get(detail::ScanLeaf<I, T>& leaf) {
  return leaf.value;
}
/// The I-th value of a ScanTuple.
template <std::size_t I, class T>
OPHIS_INLINE_FUNCTION const T& get(const detail::ScanLeaf<I, T>& leaf) {
  return leaf.value;
}

/// The type in which a scan computes on elements of type T: float for bfloat16 and float16, else T.
template <class T>
using ScanValue = typename detail::ScanValueOf<T>::type;

}  // namespace ophis
