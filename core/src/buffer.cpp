#include "ophis/core/buffer.hpp"

#include <atomic>
#include <new>

#include "core/src/gpu.hpp"

namespace ophis {
namespace {

constexpr std::align_val_t alignment{64};

std::atomic<std::uint64_t> allocations{0};

}  // namespace

Buffer::Buffer(std::size_t bytes, Device device, Access access)
    : m_bytes(bytes), m_device(device), m_access(access) {
  if (bytes == 0) return;
  if (device.type != DeviceType::cpu) {
    require_available(device);
    m_data = access == Access::device ? gpu::allocate(bytes, device.index)
                                      : gpu::allocate_managed(bytes, device.index);
    ++allocations;
    return;
  }
  m_data = ::operator new(bytes, alignment, std::nothrow);
  if (m_data == nullptr) fail(ErrorCode::out_of_memory, "could not allocate ", bytes, " bytes on ", device);
}

Buffer::~Buffer() {
  if (m_data == nullptr) return;
  if (m_device.type == DeviceType::cpu)
    ::operator delete(m_data, alignment);
  else if (m_access == Access::device)
    gpu::free(m_data, m_device.index);
  else
    gpu::free_managed(m_data);
}

std::uint64_t device_allocations() noexcept { return allocations; }

OwnedTensor::OwnedTensor(DType dtype, const Dims& shape, Device device, Access access)
    : m_buffer(static_cast<std::size_t>(element_count(shape)) * size_of(dtype), device, access),
      m_view(m_buffer.data(), dtype, shape, device) {}

}  // namespace ophis
