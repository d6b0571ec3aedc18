// Rows of tensors of any rank: how kernels that work along the last axis walk over the other axes.
#pragma once

#include <cstdint>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// Indices of the axes before the row; 0 where there is no such axis.
struct RowIndex {
  static constexpr int max_axes = Dims::max_rank - 1;
  std::int64_t axis[max_axes] = {};
};

/// Numbers the rows of a shape whose last axis is the row, in row-major order.
class RowShape {
 public:
  explicit RowShape(const Dims& shape) : m_axes(shape.size() - 1), m_length(shape[m_axes]) {
    for (int i = 0; i < m_axes; ++i) m_extents[i] = shape[i];
  }

  std::int64_t rows() const {
    std::int64_t rows = 1;
    for (int i = 0; i < m_axes; ++i) rows *= m_extents[i];
    return rows;
  }
  KOKKOS_INLINE_FUNCTION std::int64_t length() const { return m_length; }
  KOKKOS_INLINE_FUNCTION RowIndex operator[](std::int64_t row) const {
    RowIndex index;
    // Constant bounds, so that a GPU keeps the index in registers.
    OPHIS_UNROLL
    for (int i = RowIndex::max_axes - 1; i > 0; --i) {
      if (i >= m_axes) continue;
      index.axis[i] = row % m_extents[i];
      row /= m_extents[i];
    }
    index.axis[0] = row;
    return index;
  }

 private:
  int m_axes;
  std::int64_t m_extents[RowIndex::max_axes] = {};
  std::int64_t m_length;
};

/// One row of a tensor, or none.
struct Row {
  char* data = nullptr;
  std::int64_t stride = 0;

  KOKKOS_INLINE_FUNCTION explicit operator bool() const { return data != nullptr; }
  template <class T>
  KOKKOS_INLINE_FUNCTION T* at(std::int64_t column) const {
    return reinterpret_cast<T*>(data) + column * stride;
  }
  template <class T, int W>
  KOKKOS_INLINE_FUNCTION Pack<W> load(std::int64_t column, int count) const {
    return ophis::load<W>(at<T>(column), stride, count);
  }
  template <class T, int W>
  KOKKOS_INLINE_FUNCTION void store(std::int64_t column, int count, Pack<W> value) const {
    ophis::store(at<T>(column), stride, count, value);
  }
};

/// The rows of a tensor of any dtype. A default-constructed one (or one made of a Tensor that is not given)
/// gives rows that are none.
class Rows {
 public:
  Rows() = default;
  /// The first `axes` axes of the tensor number its rows; one more, if there is one, is the row.
  Rows(const Tensor& tensor, int axes) {
    if (!tensor) return;
    const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
    m_data = static_cast<char*>(tensor.raw());
    for (int i = 0; i < axes; ++i) m_bytes[i] = tensor.stride(i) * size;
    if (tensor.rank() > axes) m_stride = tensor.stride(axes);
  }
  explicit Rows(const Tensor& tensor) : Rows(tensor, tensor.rank() - 1) {}

  KOKKOS_INLINE_FUNCTION Row operator[](const RowIndex& index) const {
    if (m_data == nullptr) return {};
    char* data = m_data;
    OPHIS_UNROLL
    for (int i = 0; i < RowIndex::max_axes; ++i) data += index.axis[i] * m_bytes[i];
    return {data, m_stride};
  }

 private:
  char* m_data = nullptr;
  std::int64_t m_bytes[RowIndex::max_axes] = {};  // from one index of an axis to the next
  std::int64_t m_stride = 0;                      // elements, within the row
};

/// How many lanes of a pack the next columns fill.
template <int W>
KOKKOS_INLINE_FUNCTION int lanes(std::int64_t columns) {
  return static_cast<int>(columns < W ? columns : W);
}

/// The first `count` lanes of a, `rest` in the others.
template <int W>
KOKKOS_INLINE_FUNCTION Pack<W> first_lanes(Pack<W> a, int count, float rest) {
  if (count == W) return a;
  if constexpr (W == 1) return Pack<W>(rest);
  float values[W];
  store(values, a);
  for (int i = count; i < W; ++i) values[i] = rest;
  return load<W>(values);
}

}  // namespace ophis
