#include "ops/common/reference.hpp"

namespace ophis {

std::int64_t Elements::offset(const Dims& index) const {
  OPHIS_REQUIRE(index.size() == m_tensor.rank(), "element ", index, " of ", m_tensor);
  std::int64_t offset = 0;
  for (int axis = 0; axis < index.size(); ++axis) {
    OPHIS_REQUIRE(index[axis] >= 0 && index[axis] < m_tensor.extent(axis), "element ", index, " of ",
                  m_tensor);
    offset += index[axis] * m_tensor.stride(axis);
  }
  return offset;
}

std::int64_t Elements::offset_of_position(std::int64_t position) const {
  std::int64_t offset = 0;
  for (int axis = m_tensor.rank() - 1; axis >= 0; --axis) {
    offset += position % m_tensor.extent(axis) * m_tensor.stride(axis);
    position /= m_tensor.extent(axis);
  }
  return offset;
}

double Elements::read(std::int64_t offset) const {
  if (m_tensor.dtype() == DType::float64) return m_tensor.data<double>()[offset];
  if (m_tensor.dtype() == DType::uint8) return m_tensor.data<std::uint8_t>()[offset];
  if (m_tensor.dtype() == DType::int32) return m_tensor.data<std::int32_t>()[offset];
  if (m_tensor.dtype() == DType::int64) return static_cast<double>(m_tensor.data<std::int64_t>()[offset]);
  return dispatch_compute_dtype(m_tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    return static_cast<double>(static_cast<float>(m_tensor.data<T>()[offset]));
  });
}

void Elements::write(std::int64_t offset, double value) const {
  if (m_tensor.dtype() == DType::float64) {
    m_tensor.data<double>()[offset] = value;
    return;
  }
  dispatch_compute_dtype(m_tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    m_tensor.data<T>()[offset] = T(static_cast<float>(value));
  });
}

}  // namespace ophis
