// ExecContext: where an op runs, and with which scratch memory.
#pragma once

#include <memory>

#include "ophis/core/workspace.hpp"

namespace ophis {

struct RuntimeOptions {
  int num_threads = 0;  ///< CPU threads; 0: as OMP_NUM_THREADS and the affinity mask allow
};

/// Starts Kokkos, unless the program has already done so. Called by the first ExecContext when nobody called
/// it before; options of a later call have no effect. Kokkos is finalized at exit if Ophis started it.
void initialize(const RuntimeOptions& options = {});

/// The number of CPU threads that ops use.
int num_threads();

/// A device, an in-order queue of work on it (for a GPU, a stream) and a Workspace. One context serves one
/// host thread at a time; several contexts may be used at once.
class ExecContext {
 public:
  explicit ExecContext(Device device = Device::cpu());
  ~ExecContext();
  ExecContext(ExecContext&&) noexcept;
  ExecContext& operator=(ExecContext&&) noexcept;

  Device device() const noexcept;
  Workspace& workspace() noexcept;

  /// Waits until all work given to this context is done.
  void fence();

 private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
