// Which implementation of an op runs.
#pragma once

#include <string>
#include <string_view>

namespace ophis {

/// While it lives, `op` runs implementation `impl` in this thread, or throws Error(unsupported) with the
/// reason why it cannot. The environment variable OPHIS_FORCE_IMPL="ssd_scan:kokkos,linear:eigen" does the
/// same for a whole program, and OPHIS_VERBOSE=1 prints to stderr what ran, and why faster implementations
/// did not.
class ScopedImplementation {
 public:
  /// Throws Error(invalid_argument) if there is no such op or implementation.
  ScopedImplementation(std::string_view op, std::string_view impl);
  ~ScopedImplementation();
  ScopedImplementation(const ScopedImplementation&) = delete;
  ScopedImplementation& operator=(const ScopedImplementation&) = delete;
};

}  // namespace ophis
