// Typed strided access for kernels: a pointer with its strides, small enough to be captured by value.
#pragma once

#include <array>
#include <cstdint>

#include "ophis/core/macros.hpp"
#include "ophis/core/tensor.hpp"
#include "ops/common/dense.hpp"

namespace ophis {

/// A tensor as kernels see it. A default-constructed one (or one made of a Tensor that is not given) tests
/// false.
template <class T, int Rank>
class Strided {
 public:
  Strided() = default;
  explicit Strided(const Tensor& tensor) {
    if (!tensor) return;
    m_data = tensor.data<T>();
    for (int i = 0; i < Rank; ++i) m_strides[i] = tensor.stride(i);
  }

  OPHIS_INLINE_FUNCTION explicit operator bool() const { return m_data != nullptr; }
  OPHIS_INLINE_FUNCTION std::int64_t stride(int axis) const { return m_strides[axis]; }
  /// The element's address; indices not given are 0.
  template <class... Index>
  OPHIS_INLINE_FUNCTION T* at(Index... index) const {
    static_assert(sizeof...(Index) <= Rank);
    const std::int64_t indices[] = {static_cast<std::int64_t>(index)...};
    T* address = m_data;
    for (int i = 0; i < static_cast<int>(sizeof...(Index)); ++i) address += indices[i] * m_strides[i];
    return address;
  }
  /// The element's value as a float.
  template <class... Index>
  OPHIS_INLINE_FUNCTION float operator()(Index... index) const {
    return static_cast<float>(*at(index...));
  }

 private:
  T* m_data = nullptr;
  std::int64_t m_strides[Rank] = {};
};

}  // namespace ophis
