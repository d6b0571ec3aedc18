// Uploader: host memory to a device, as fast as the host's memory can be read.
#pragma once

#include <memory>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// Copies tensors to a GPU through page-locked buffers: the CPU's threads fill one while the one before is on
/// its way. For one host thread at a time.
class Uploader {
 public:
  /// Throws Error(unsupported) for a device that cannot be used.
  explicit Uploader(Device device);
  ~Uploader();
  Uploader(Uploader&&) noexcept;
  Uploader& operator=(Uploader&&) noexcept;

  /// Copies a dense tensor of the host to a dense one of the device, of the same shape and dtype. `from` has
  /// been read when it returns; `to` is written by the time finish() returns.
  void upload(const Tensor& from, const Tensor& to);

  /// Waits until everything has arrived.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
