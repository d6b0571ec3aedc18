// Owning memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// Memory of the CPU from this size on lies in huge pages, of this size, where the system has them.
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Who can read and write memory of a device.
enum class Access {
  device,          ///< the device
  device_and_host  ///< and the CPU, while the device does no work on it; slower
};

/// Uninitialised, 64-byte aligned memory on a device. Move-only; frees itself, which on a GPU must not happen
/// before the work on it is done (ExecContext::fence). A GPU's memory comes from a pool that keeps what is
/// given back for the next Buffer.
class Buffer {
 public:
  Buffer() = default;
  /// Throws Error(out_of_memory) that says how much was wanted, Error(unsupported) for a device that cannot
  /// be used.
  Buffer(std::size_t bytes, Device device = Device::cpu(), Access access = Access::device);
  ~Buffer();
  Buffer(Buffer&& other) noexcept : Buffer() { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }

  /// The first byte, aligned to 64; null if there is none.
  void* data() const noexcept { return m_data; }
  /// How many were asked for.
  std::size_t bytes() const noexcept { return m_bytes; }
  /// Where the memory is.
  Device device() const noexcept { return m_device; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(m_data, other.m_data);
    std::swap(m_bytes, other.m_bytes);
    std::swap(m_device, other.m_device);
    std::swap(m_access, other.m_access);
  }

  void* m_data = nullptr;
  std::size_t m_bytes = 0;
  Device m_device;
  Access m_access = Access::device;
};

/// How many Buffers of this process have taken memory of a GPU so far.
std::uint64_t device_allocations() noexcept;

/// A dense row-major tensor together with its memory (uninitialised).
class OwnedTensor {
 public:
  OwnedTensor() = default;
  /// Throws as Buffer's constructor, and Error(invalid_argument) on a shape that cannot be.
  OwnedTensor(DType dtype, const Dims& shape, Device device = Device::cpu(), Access access = Access::device);

  /// The tensor, valid as long as this owner.
  const Tensor& view() const noexcept { return m_view; }
  /// The same, so that an owner may be given where an op takes a tensor.
  operator const Tensor&() const noexcept { return m_view; }
  /// For tensor's functions: owned->shape().
  const Tensor* operator->() const noexcept { return &m_view; }

 private:
  Buffer m_buffer;
  Tensor m_view;
};

}  // namespace ophis
