#include "ophis/core/exec_context.hpp"

#include <cstdlib>
#include <mutex>

#include "core/src/control_group.hpp"
#include "core/src/gpu.hpp"
#include "ophis/core/kokkos.hpp"

#if defined(OPHIS_HAS_GPU)
#define KOKKOS_IMPL_PUBLIC_INCLUDE  // the header below is not public
#include <impl/Kokkos_ExecSpaceManager.hpp>
#endif

namespace ophis {
namespace {

#if defined(OPHIS_HAS_GPU)
/// Stands in for Kokkos' GPU backend on a machine whose GPU cannot be used, so that the CPU's still starts.
struct AbsentSpace final : Kokkos::Impl::ExecSpaceBase {
  void initialize(const Kokkos::InitializationSettings&) override {}
  void finalize() override {}
  void static_fence(const std::string&) override {}
  void print_configuration(std::ostream&, bool) override {}
};

void skip_unusable_gpu() {
  if (gpu::why_not(0).empty()) return;
  // The name under which Kokkos registers its backend.
  const char* const name = gpu::type() == DeviceType::cuda ? "150_Cuda" : "150_HIP";
  Kokkos::Impl::ExecSpaceManager::get_instance().register_space_factory(name,
                                                                        std::make_unique<AbsentSpace>());
}
#else
void skip_unusable_gpu() {}
#endif

/// 0: as OpenMP chooses, by OMP_NUM_THREADS or the affinity mask.
int threads_to_start(const RuntimeOptions& options) {
  if (options.num_threads > 0) return options.num_threads;
  if (std::getenv("OMP_NUM_THREADS") || std::getenv("KOKKOS_NUM_THREADS")) return 0;
  return default_threads();
}

}  // namespace

void initialize(const RuntimeOptions& options) {
  static std::once_flag once;
  std::call_once(once, [&] {
    if (Kokkos::is_initialized()) return;
    skip_unusable_gpu();
    Kokkos::InitializationSettings settings;
    settings.set_disable_warnings(true);
    if (const int threads = threads_to_start(options)) settings.set_num_threads(threads);
    Kokkos::initialize(settings);
    std::atexit([] {
      if (!Kokkos::is_finalized() && !gpu::is_lost()) Kokkos::finalize();
    });
  });
}

int num_threads() {
  initialize();
  return HostExecSpace().concurrency();
}

#if defined(OPHIS_HAS_GPU)
namespace {

struct NoWork {
  template <class Team>
  KOKKOS_FUNCTION void operator()(const Team&) const {}
};

/// Kernels of teams without scratch memory would allocate none anew in each call, which a graph cannot
/// record, unless Kokkos holds some already.
void reserve_team_scratch(const GpuExecSpace& space) {
  Kokkos::TeamPolicy<GpuExecSpace> policy(space, 1, 1);
  policy.set_scratch_size(1, Kokkos::PerTeam(16));
  Kokkos::parallel_for("ophis::reserve_team_scratch", policy, NoWork{});
}

}  // namespace
#endif

struct ExecContext::Impl {
  Impl(Device on, void* given_stream)
      : device(on), workspace(on, [this] { fence(); }), owns_stream(given_stream == nullptr) {
#if defined(OPHIS_HAS_GPU)
    if (device.type == DeviceType::cpu) return;
    // Kokkos asks whose a stream is; of a default one that is the thread's device.
    gpu::set_device(device.index);
    stream = owns_stream ? gpu::create_stream(device.index) : given_stream;
    gpu_space = std::make_unique<GpuExecSpace>(static_cast<NativeStream>(stream));
    reserve_team_scratch(*gpu_space);
#endif
  }
  ~Impl() {
    if (device.type == DeviceType::cpu) return;
    try {
      fence();
    } catch (const Error&) {  // it has been reported, or nobody asked
    }
#if defined(OPHIS_HAS_GPU)
    if (gpu::is_lost()) {  // Kokkos would end the program over a device that fails
      static_cast<void>(gpu_space.release());
      return;
    }
    gpu_space.reset();
#endif
    if (owns_stream) gpu::destroy_stream(stream, device.index);
  }

  void fence() {
    if (device.type == DeviceType::cpu)
      HostExecSpace{}.fence("ophis::ExecContext::fence");
    else
      gpu::synchronize(stream, device.index);
  }

  Device device;
  Workspace workspace;
  bool owns_stream;
  gpu::Stream stream = nullptr;
#if defined(OPHIS_HAS_GPU)
  std::unique_ptr<GpuExecSpace> gpu_space;
#endif
};

ExecContext::ExecContext(Device device) : ExecContext(device, nullptr) {}

ExecContext::ExecContext(Device device, void* native_stream) {
  require_available(device);
  initialize();
  m_impl = std::make_unique<Impl>(device, native_stream);
}

ExecContext::~ExecContext() = default;
ExecContext::ExecContext(ExecContext&&) noexcept = default;
ExecContext& ExecContext::operator=(ExecContext&&) noexcept = default;

Device ExecContext::device() const noexcept { return m_impl->device; }
Workspace& ExecContext::workspace() noexcept { return m_impl->workspace; }
void* ExecContext::native_stream() const noexcept { return m_impl->stream; }
void ExecContext::fence() { m_impl->fence(); }

#if defined(OPHIS_HAS_GPU)
const GpuExecSpace& ExecContextAccess::gpu_space(const ExecContext& exec) { return *exec.m_impl->gpu_space; }
#endif

}  // namespace ophis
