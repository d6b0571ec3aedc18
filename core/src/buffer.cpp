#include "ophis/core/buffer.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include "core/src/gpu.hpp"

namespace ophis {
namespace {

constexpr std::align_val_t cache_line{64};

/// Large memory of the CPU is the system's own, from a huge page's address on and fresh, so that the system
/// can give it huge pages: weights are read once a token from end to end, and looking up small pages takes a
/// fifth of that time.
void* map_huge_pages(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() - huge_page_bytes) return nullptr;
  const std::size_t with_margin = bytes + huge_page_bytes;
  void* const mapped =
      ::mmap(nullptr, with_margin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::size_t before =
      (huge_page_bytes - reinterpret_cast<std::uintptr_t>(mapped) % huge_page_bytes) % huge_page_bytes;
  if (before > 0) ::munmap(begin, before);
  std::byte* const data = begin + before;
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t used = (bytes + page - 1) / page * page;
  if (before + used < with_margin) ::munmap(data + used, with_margin - before - used);
#if defined(MADV_HUGEPAGE)
  ::madvise(data, used, MADV_HUGEPAGE);  // only advice, which the system may refuse
#endif
  return data;
}

void* allocate_on_cpu(std::size_t bytes) {
  return bytes >= huge_page_bytes ? map_huge_pages(bytes) : ::operator new(bytes, cache_line, std::nothrow);
}

void free_on_cpu(void* data, std::size_t bytes) {
  if (bytes >= huge_page_bytes)
    ::munmap(data, bytes);
  else
    ::operator delete(data, cache_line);
}

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
  m_data = allocate_on_cpu(bytes);
  if (m_data == nullptr) fail(ErrorCode::out_of_memory, "could not allocate ", bytes, " bytes on ", device);
}

Buffer::~Buffer() {
  if (m_data == nullptr) return;
  if (m_device.type == DeviceType::cpu)
    free_on_cpu(m_data, m_bytes);
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
