// Readback: small results on their way to the host, while the device goes on.
#pragma once

#include <memory>

#include "ophis/core/exec_context.hpp"

namespace ophis {

/// Brings the content that a tensor has at certain points of a context's queue to the host. On a GPU neither
/// the queue nor, until it reads, the host waits.
class Readback {
 public:
  /// `source` is a dense tensor on the context's device. Up to `depth` posts may be waiting to be taken.
  Readback(ExecContext& exec, const Tensor& source, int depth = 1);
  ~Readback();
  Readback(Readback&&) noexcept;
  Readback& operator=(Readback&&) noexcept;

  /// Queues a copy of what the source holds after the work queued so far.
  void post();
  /// The oldest copy not yet taken, on the CPU; valid until `depth` more posts.
  Tensor take();

 private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
