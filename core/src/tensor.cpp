#include "ophis/core/tensor.hpp"

#include <algorithm>
#include <limits>

namespace ophis {

Dims::Dims(std::span<const std::int64_t> values) {
  OPHIS_REQUIRE(values.size() <= max_rank, "a tensor has at most ", max_rank, " axes, got ", values.size());
  std::copy(values.begin(), values.end(), m_values.begin());
  m_size = static_cast<int>(values.size());
}

void Dims::push_back(std::int64_t value) {
  OPHIS_REQUIRE(m_size < max_rank, "a tensor has at most ", max_rank, " axes");
  m_values[static_cast<std::size_t>(m_size++)] = value;
}

bool operator==(const Dims& a, const Dims& b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << '(';
  for (int i = 0; i < dims.size(); ++i) out << (i ? ", " : "") << dims[i];
  return out << ')';
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides = shape;
  std::int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return strides;
}

std::int64_t element_count(const Dims& shape) {
  // An extent of 0 counts as 1 at first, so that the strides of an empty tensor cannot overflow either.
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    OPHIS_REQUIRE(extent >= 0, "tensor shape ", shape, " has a negative extent");
    const std::int64_t factor = std::max<std::int64_t>(extent, 1);
    OPHIS_REQUIRE(product <= std::numeric_limits<std::int64_t>::max() / 16 / factor, "tensor shape ", shape,
                  " has too many elements");
    product *= factor;
    empty = empty || extent == 0;
  }
  return empty ? 0 : product;
}

Tensor::Tensor(void* data, DType dtype, const Dims& shape, Device device)
    : Tensor(data, dtype, shape, (element_count(shape), contiguous_strides(shape)), device) {}

Tensor::Tensor(void* data, DType dtype, const Dims& shape, const Dims& strides, Device device)
    : m_data(data),
      m_shape(shape),
      m_strides(strides),
      m_count(element_count(shape)),
      m_dtype(dtype),
      m_device(device),
      m_present(true) {
  OPHIS_REQUIRE(shape.size() == strides.size(), "tensor shape ", shape, " and strides ", strides,
                " differ in rank");
  OPHIS_REQUIRE(data != nullptr || m_count == 0, "tensor of shape ", shape, " has no memory");
}

bool Tensor::is_contiguous() const noexcept {
  std::int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (m_shape[i] != 1 && m_strides[i] != step) return m_count == 0;
    step *= m_shape[i];
  }
  return true;
}

int Tensor::checked_axis(int axis) const {
  const int wrapped = axis < 0 ? axis + rank() : axis;
  OPHIS_REQUIRE(wrapped >= 0 && wrapped < rank(), "axis ", axis, " of a tensor of rank ", rank());
  return wrapped;
}

Tensor Tensor::slice(int axis, std::int64_t begin, std::int64_t end) const {
  axis = checked_axis(axis);
  OPHIS_REQUIRE(0 <= begin && begin <= end && end <= m_shape[axis], "slice [", begin, ", ", end, ") of axis ",
                axis, " of ", *this);
  Dims shape = m_shape;
  shape[axis] = end - begin;
  char* first =
      static_cast<char*>(m_data) + begin * m_strides[axis] * static_cast<std::int64_t>(size_of(m_dtype));
  return Tensor(first, m_dtype, shape, m_strides, m_device);
}

Tensor Tensor::select(int axis, std::int64_t index) const {
  axis = checked_axis(axis);
  const Tensor one = slice(axis, index, index + 1);
  Dims shape;
  Dims strides;
  for (int i = 0; i < rank(); ++i) {
    if (i == axis) continue;
    shape.push_back(m_shape[i]);
    strides.push_back(m_strides[i]);
  }
  return Tensor(one.m_data, m_dtype, shape, strides, m_device);
}

Tensor Tensor::transpose(int axis0, int axis1) const {
  axis0 = checked_axis(axis0);
  axis1 = checked_axis(axis1);
  Tensor result = *this;
  std::swap(result.m_shape[axis0], result.m_shape[axis1]);
  std::swap(result.m_strides[axis0], result.m_strides[axis1]);
  return result;
}

std::optional<Dims> Tensor::strides_as(const Dims& shape) const {
  if (element_count(shape) != m_count) return std::nullopt;
  if (m_count == 0 || is_contiguous()) return contiguous_strides(shape);

  // Merge the old axes into dense runs, last first; each new axis must then divide what is left of a run.
  Dims run_extent;
  Dims run_stride;
  for (int i = rank() - 1; i >= 0; --i) {
    if (m_shape[i] == 1) continue;
    const int last = run_extent.size() - 1;
    if (last >= 0 && m_strides[i] == run_stride[last] * run_extent[last]) {
      run_extent[last] *= m_shape[i];
    } else {
      run_extent.push_back(m_shape[i]);
      run_stride.push_back(m_strides[i]);
    }
  }
  Dims strides = shape;
  int run = 0;
  std::int64_t used = 1;  // how much of the current run the new axes have taken
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (used == run_extent[run] && run + 1 < run_extent.size()) {
      ++run;
      used = 1;
    }
    strides[i] = run_stride[run] * used;
    used *= shape[i];
    if (run_extent[run] % used != 0) return std::nullopt;
  }
  return strides;
}

Tensor Tensor::reshape(const Dims& shape) const {
  const std::optional<Dims> strides = strides_as(shape);
  OPHIS_REQUIRE(strides, "cannot reshape ", *this, " with strides ", m_strides, " to ", shape,
                " without a copy");
  return Tensor(m_data, m_dtype, shape, *strides, m_device);
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor) return out << "none";
  return out << tensor.dtype() << ' ' << tensor.shape();
}

}  // namespace ophis
