#include "ophis/core/exec_context.hpp"

#include <cstdlib>
#include <mutex>

#include "ophis/core/kokkos.hpp"

namespace ophis {

void initialize(const RuntimeOptions& options) {
  static std::once_flag once;
  std::call_once(once, [&] {
    if (Kokkos::is_initialized()) return;
    Kokkos::InitializationSettings settings;
    settings.set_disable_warnings(true);
    if (options.num_threads > 0) settings.set_num_threads(options.num_threads);
    Kokkos::initialize(settings);
    std::atexit([] {
      if (!Kokkos::is_finalized()) Kokkos::finalize();
    });
  });
}

int num_threads() {
  initialize();
  return HostExecSpace().concurrency();
}

struct ExecContext::Impl {
  explicit Impl(Device on) : device(on), workspace(on) {}
  Device device;
  Workspace workspace;
};

ExecContext::ExecContext(Device device) {
  initialize();
  if (device.type != DeviceType::cpu) {
    fail(ErrorCode::unsupported, "device ", device, " is not available: this build has the cpu only");
  }
  m_impl = std::make_unique<Impl>(device);
}

ExecContext::~ExecContext() = default;
ExecContext::ExecContext(ExecContext&&) noexcept = default;
ExecContext& ExecContext::operator=(ExecContext&&) noexcept = default;

Device ExecContext::device() const noexcept { return m_impl->device; }
Workspace& ExecContext::workspace() noexcept { return m_impl->workspace; }

void ExecContext::fence() {
  with_exec_space(*this, [](const auto& space) { space.fence("ophis::ExecContext::fence"); });
}

}  // namespace ophis
