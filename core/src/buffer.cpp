#include "ophis/core/buffer.hpp"

#include <new>

namespace ophis {
namespace {
constexpr std::align_val_t alignment{64};
}

Buffer::Buffer(std::size_t bytes, Device device) : m_bytes(bytes), m_device(device) {
  if (device.type != DeviceType::cpu)
    fail(ErrorCode::unsupported, "no memory on device ", device, " in this build");
  if (bytes == 0) return;
  m_data = ::operator new(bytes, alignment, std::nothrow);
  if (m_data == nullptr) fail(ErrorCode::out_of_memory, "could not allocate ", bytes, " bytes on ", device);
}

Buffer::~Buffer() { ::operator delete(m_data, alignment); }

OwnedTensor::OwnedTensor(DType dtype, const Dims& shape, Device device)
    : m_buffer(static_cast<std::size_t>(element_count(shape)) * size_of(dtype), device),
      m_view(m_buffer.data(), dtype, shape, device) {}

}  // namespace ophis
