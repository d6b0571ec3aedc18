// Tensor: a non-owning, strided, typed view of memory, with DLPack's meaning of shape and strides.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

#include "ophis/core/device.hpp"
#include "ophis/core/dtype.hpp"

namespace ophis {

/// A list of extents or strides (in elements), at most max_rank long. Prints as "(2, 37, 64)".
class Dims {
 public:
  static constexpr int max_rank = 6;  ///< axes that a tensor can have

  Dims() = default;
  /// Throws Error(invalid_argument) if there are more than max_rank.
  Dims(std::initializer_list<std::int64_t> values)
      : Dims(std::span<const std::int64_t>(values.begin(), values.size())) {}
  /// Throws Error(invalid_argument) if there are more than max_rank.
  explicit Dims(std::span<const std::int64_t> values);

  /// The number of axes.
  int size() const noexcept { return m_size; }
  /// Of axis i in [0, size()), unchecked.
  std::int64_t operator[](int i) const noexcept { return m_values[static_cast<std::size_t>(i)]; }
  /// Of axis i in [0, size()), unchecked.
  std::int64_t& operator[](int i) noexcept { return m_values[static_cast<std::size_t>(i)]; }
  /// The first, for range-based loops.
  const std::int64_t* begin() const noexcept { return m_values.data(); }
  /// Behind the last.
  const std::int64_t* end() const noexcept { return m_values.data() + m_size; }
  /// Appends an axis. Throws Error(invalid_argument) beyond max_rank.
  void push_back(std::int64_t value);
  /// Equal in length and in every value.
  friend bool operator==(const Dims& a, const Dims& b) noexcept;
  friend std::ostream& operator<<(std::ostream& out, const Dims& dims);

 private:
  std::array<std::int64_t, max_rank> m_values{};
  int m_size = 0;
};

/// The strides of a dense row-major tensor of this shape.
Dims contiguous_strides(const Dims& shape);

/// The number of elements. Throws Error(invalid_argument) on a negative extent or a product (of the non-zero
/// extents) beyond int64.
std::int64_t element_count(const Dims& shape);

/// A view of memory that someone else owns. A default-constructed Tensor is empty and stands for an argument
/// that is not given. Constness is by role: an op's header says which tensors it writes.
class Tensor {
 public:
  Tensor() = default;
  /// A dense row-major view.
  Tensor(void* data, DType dtype, const Dims& shape, Device device = Device::cpu());
  /// A view with strides in elements, negative and zero ones too.
  Tensor(void* data, DType dtype, const Dims& shape, const Dims& strides, Device device = Device::cpu());

  /// Whether there is a tensor at all.
  explicit operator bool() const noexcept { return m_present; }

  /// The number of axes.
  int rank() const noexcept { return m_shape.size(); }
  /// Extents, outermost axis first.
  const Dims& shape() const noexcept { return m_shape; }
  /// Steps along the axes, in elements.
  const Dims& strides() const noexcept { return m_strides; }
  /// Extent and stride (in elements) of one axis; a negative axis counts from the end.
  std::int64_t extent(int axis) const { return m_shape[checked_axis(axis)]; }
  /// The same for the stride.
  std::int64_t stride(int axis) const { return m_strides[checked_axis(axis)]; }
  /// Of the elements.
  DType dtype() const noexcept { return m_dtype; }
  /// Where the memory is.
  Device device() const noexcept { return m_device; }
  /// The number of elements.
  std::int64_t count() const noexcept { return m_count; }
  /// Of all elements, as if they were dense.
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(m_count) * size_of(m_dtype); }
  /// Whether it is dense row-major, so that its elements follow one another in memory.
  bool is_contiguous() const noexcept;

  /// The first element, whatever the dtype.
  void* raw() const noexcept { return m_data; }
  /// The first element. Throws Error(invalid_argument) if T is not this tensor's dtype.
  template <class T>
  T* data() const {
    OPHIS_REQUIRE(m_present && dtype_of<T> == m_dtype, "tensor of dtype ", m_dtype, " read as ", dtype_of<T>);
    return static_cast<T*>(m_data);
  }

  /// Elements [begin, end) along one axis; the rest as it is.
  Tensor slice(int axis, std::int64_t begin, std::int64_t end) const;
  /// Drops one axis by fixing its index.
  Tensor select(int axis, std::int64_t index) const;
  /// Swaps two axes.
  Tensor transpose(int axis0, int axis1) const;
  /// The strides that the same elements have in another shape; nothing if that would need a copy.
  std::optional<Dims> strides_as(const Dims& shape) const;
  /// The same elements in another shape; throws Error(invalid_argument) if strides forbid it without a copy.
  Tensor reshape(const Dims& shape) const;

 private:
  int checked_axis(int axis) const;

  void* m_data = nullptr;
  Dims m_shape;
  Dims m_strides;
  std::int64_t m_count = 0;
  DType m_dtype = DType::float32;
  Device m_device;
  bool m_present = false;
};

/// "float32 (2, 37, 64)", or "none" for an empty tensor: for messages.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace ophis
