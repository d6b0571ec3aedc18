// ExecContext: where an op runs, and with which scratch memory.
#pragma once

#include <memory>

#include "ophis/core/workspace.hpp"

namespace ophis {

struct RuntimeOptions {
  int num_threads = 0;  ///< CPU threads; 0: as OMP_NUM_THREADS, the affinity mask and a container allow
};

/// Starts Kokkos, unless the program has already done so. Called by the first ExecContext when nobody called
/// it before; options of a later call have no effect. Kokkos is finalized at exit if Ophis started it.
void initialize(const RuntimeOptions& options = {});

/// The number of CPU threads that ops use.
int num_threads();

/// A device, an in-order queue of work on it (for a GPU, a stream) and a Workspace. One context serves one
/// host thread at a time; several contexts may be used at once. On a GPU calls of ops return before their
/// work is done; an error of that work shows at the next fence.
class ExecContext {
 public:
  /// Throws Error(unsupported) for a device that cannot be used.
  explicit ExecContext(Device device = Device::cpu());
  /// On a GPU: works on a stream of the caller's (a cudaStream_t or hipStream_t), which must outlive the
  /// context.
  ExecContext(Device device, void* native_stream);
  ~ExecContext();
  ExecContext(ExecContext&&) noexcept;
  ExecContext& operator=(ExecContext&&) noexcept;

  /// Where its ops run; their tensors must be there.
  Device device() const noexcept;
  /// Scratch memory on the device, which grows to what the ops need.
  Workspace& workspace() noexcept;
  /// The cudaStream_t or hipStream_t of a context on a GPU, nullptr on the CPU.
  void* native_stream() const noexcept;

  /// Waits until all work given to this context is done. Throws Error(internal) if some of it failed.
  void fence();

 private:
  friend struct ExecContextAccess;
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
