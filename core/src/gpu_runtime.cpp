// gpu.hpp for NVIDIA and AMD: the runtimes of CUDA and HIP differ in what gpu_vendor.hpp holds.
#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "core/src/gpu_vendor.hpp"

namespace ophis::gpu {
namespace {

using Status = OPHIS_GPU(Error_t);
using NativeStream = OPHIS_GPU(Stream_t);
using NativeGraph = OPHIS_GPU(GraphExec_t);
using NativeEvent = OPHIS_GPU(Event_t);

constexpr int max_devices = 64;

/// For calls whose failure changes nothing, or shows in the next one.
constexpr void ignore(Status) noexcept {}

std::atomic<bool> lost{false};

NativeStream to_native(Stream stream) { return static_cast<NativeStream>(stream); }
NativeGraph to_graph(GraphHandle graph) { return static_cast<NativeGraph>(graph); }
NativeEvent to_event(Event event) { return static_cast<NativeEvent>(event); }

/// A kernel of this library, to ask whether the driver can run what this build contains.
__global__ void probe() {}

std::string find_why_not(int index) {
  prepare_runtime();
  int count = 0;
  if (const Status status = OPHIS_GPU(GetDeviceCount)(&count); status != OPHIS_GPU(Success)) {
    ignore(OPHIS_GPU(GetLastError)());
    return detail::concat(vendor, " finds no device it can use: ", OPHIS_GPU(GetErrorString)(status));
  }
  if (index >= count) return detail::concat("there are ", count, ' ', vendor, " devices, numbered from 0");
  if (index >= max_devices) return detail::concat("only the first ", max_devices, " devices are used");
  int previous = 0;
  ignore(OPHIS_GPU(GetDevice)(&previous));
  ignore(OPHIS_GPU(SetDevice)(index));
  OPHIS_GPU(FuncAttributes) attributes;
  const Status status = OPHIS_GPU(FuncGetAttributes)(&attributes, reinterpret_cast<const void*>(probe));
  const std::string architecture = describe_architecture(index);
  ignore(OPHIS_GPU(SetDevice)(previous));
  ignore(OPHIS_GPU(GetLastError)());
  if (status == OPHIS_GPU(Success)) return {};
  return detail::concat("the device has ", architecture, ", which this build (", architectures,
                        ") has no code for: ", OPHIS_GPU(GetErrorString)(status));
}

/// The stream that a device's allocations are ordered on, and its pool, which keeps what is freed.
class Pool {
 public:
  explicit Pool(int index) {
    check(OPHIS_GPU(StreamCreateWithFlags)(&m_stream, OPHIS_GPU(StreamNonBlocking)), "creating a stream");
    check(OPHIS_GPU(DeviceGetDefaultMemPool)(&m_pool, index), "finding the memory pool");
    std::uint64_t keep = ~std::uint64_t{0};
    check(OPHIS_GPU(MemPoolSetAttribute)(m_pool, OPHIS_GPU(MemPoolAttrReleaseThreshold), &keep),
          "setting up the memory pool");
  }

  void* allocate(std::size_t bytes, int index) {
    const std::lock_guard lock(m_mutex);
    void* data = nullptr;
    Status status = OPHIS_GPU(MallocAsync)(&data, bytes, m_stream);
    if (status == OPHIS_GPU(ErrorMemoryAllocation)) {
      // Perhaps other programs need what the pool keeps for later.
      ignore(OPHIS_GPU(GetLastError)());
      ignore(OPHIS_GPU(MemPoolTrimTo)(m_pool, 0));
      status = OPHIS_GPU(MallocAsync)(&data, bytes, m_stream);
    }
    if (status == OPHIS_GPU(ErrorMemoryAllocation)) {
      ignore(OPHIS_GPU(GetLastError)());
      std::size_t available = 0, total = 0;
      ignore(OPHIS_GPU(MemGetInfo)(&available, &total));
      fail(
          ErrorCode::out_of_memory, "could not allocate ", bytes, " bytes on ", Device{vendor_type, index},
          ", which has ", available, " of ", total,
          " bytes left; use a smaller batch or shorter pieces, a 16-bit dtype, or a device with more memory");
    }
    check(status, "allocating memory");
    check(OPHIS_GPU(StreamSynchronize)(m_stream), "allocating memory");
    return data;
  }

  void free(void* data) noexcept {
    const std::lock_guard lock(m_mutex);
    ignore(OPHIS_GPU(FreeAsync)(data, m_stream));
  }

 private:
  std::mutex m_mutex;
  NativeStream m_stream = nullptr;
  OPHIS_GPU(MemPool_t) m_pool = nullptr;
};

Pool& pool(int index) {
  static std::array<std::atomic<Pool*>, max_devices> pools;
  static std::mutex mutex;
  std::atomic<Pool*>& slot = pools[static_cast<std::size_t>(index)];
  if (Pool* const found = slot.load()) return *found;
  const std::lock_guard lock(mutex);
  // Never destroyed: buffers may be freed while the program ends.
  if (slot.load() == nullptr) slot = new Pool(index);
  return *slot.load();
}

}  // namespace

DeviceType type() noexcept { return vendor_type; }

bool is_lost() noexcept { return lost; }

int count() noexcept {
  int count = 0;
  if (OPHIS_GPU(GetDeviceCount)(&count) == OPHIS_GPU(Success)) return count;
  ignore(OPHIS_GPU(GetLastError)());
  return 0;
}

std::string why_not(int index) {
  static std::mutex mutex;
  static std::array<std::string, max_devices> reasons;
  static std::array<bool, max_devices> known{};
  if (index >= max_devices) return find_why_not(index);
  const std::lock_guard lock(mutex);
  const auto i = static_cast<std::size_t>(index);
  if (!known[i]) reasons[i] = find_why_not(index);
  known[i] = true;
  return reasons[i];
}

void* allocate(std::size_t bytes, int index) {
  set_device(index);
  return pool(index).allocate(bytes, index);
}

void free(void* data, int index) noexcept {
  ignore(OPHIS_GPU(SetDevice)(index));
  pool(index).free(data);
}

void* allocate_managed(std::size_t bytes, int index) {
  set_device(index);
  void* data = nullptr;
  check(OPHIS_GPU(MallocManaged)(&data, bytes), "allocating managed memory");
  return data;
}

void free_managed(void* data) noexcept { ignore(OPHIS_GPU(Free)(data)); }

void* allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  check(OPHIS_GPU(HostAlloc)(&data, bytes, 0), "allocating page-locked memory");
  return data;
}

void free_pinned(void* data) noexcept { ignore(OPHIS_GPU(FreeHost)(data)); }

void set_device(int index) { check(OPHIS_GPU(SetDevice)(index), "choosing the device"); }

Stream create_stream(int index) {
  set_device(index);
  NativeStream stream = nullptr;
  check(OPHIS_GPU(StreamCreateWithFlags)(&stream, OPHIS_GPU(StreamNonBlocking)), "creating a stream");
  return stream;
}

void destroy_stream(Stream stream, int index) noexcept {
  ignore(OPHIS_GPU(SetDevice)(index));
  ignore(OPHIS_GPU(StreamDestroy)(to_native(stream)));
}

void synchronize(Stream stream, int index) {
  set_device(index);
  check(OPHIS_GPU(StreamSynchronize)(to_native(stream)), "waiting for the device");
}

void copy(void* to, const void* from, std::size_t bytes, Stream stream, int index) {
  set_device(index);
  check(OPHIS_GPU(MemcpyAsync)(to, from, bytes, OPHIS_GPU(MemcpyDefault), to_native(stream)), "copying");
}

void fill_with_zeros(void* to, std::size_t bytes, Stream stream, int index) {
  set_device(index);
  check(OPHIS_GPU(MemsetAsync)(to, 0, bytes, to_native(stream)), "filling memory");
}

Event create_event(int index, bool timing) {
  set_device(index);
  NativeEvent event = nullptr;
  const unsigned int flags = timing ? OPHIS_GPU(EventDefault) : OPHIS_GPU(EventDisableTiming);
  check(OPHIS_GPU(EventCreateWithFlags)(&event, flags), "creating an event");
  return event;
}

void destroy_event(Event event) noexcept { ignore(OPHIS_GPU(EventDestroy)(to_event(event))); }

void record(Event event, Stream stream, int index) {
  set_device(index);
  check(OPHIS_GPU(EventRecord)(to_event(event), to_native(stream)), "recording an event");
}

void wait(Event event, int index) {
  set_device(index);
  check(OPHIS_GPU(EventSynchronize)(to_event(event)), "waiting for the device");
}

double seconds_between(Event start, Event end, int index) {
  wait(end, index);
  float milliseconds = 0.0f;
  check(OPHIS_GPU(EventElapsedTime)(&milliseconds, to_event(start), to_event(end)), "timing");
  return 1e-3 * static_cast<double>(milliseconds);
}

bool begin_recording(Stream stream, int index) {
  set_device(index);
  const Status status =
      OPHIS_GPU(StreamBeginCapture)(to_native(stream), OPHIS_GPU(StreamCaptureModeThreadLocal));
  if (status == OPHIS_GPU(ErrorStreamCaptureUnsupported)) {
    ignore(OPHIS_GPU(GetLastError)());
    return false;
  }
  check(status, "recording a graph");
  return true;
}

GraphHandle end_recording(Stream stream, int index) {
  set_device(index);
  OPHIS_GPU(Graph_t) graph = nullptr;
  check(OPHIS_GPU(StreamEndCapture)(to_native(stream), &graph), "recording a graph");
  NativeGraph executable = nullptr;
  const Status status = OPHIS_GPU(GraphInstantiateWithFlags)(&executable, graph, 0);
  ignore(OPHIS_GPU(GraphDestroy)(graph));
  check(status, "instantiating a graph");
  return executable;
}

void abandon_recording(Stream stream, int index) noexcept {
  ignore(OPHIS_GPU(SetDevice)(index));
  OPHIS_GPU(Graph_t) graph = nullptr;
  ignore(OPHIS_GPU(StreamEndCapture)(to_native(stream), &graph));
  if (graph) ignore(OPHIS_GPU(GraphDestroy)(graph));
  ignore(OPHIS_GPU(GetLastError)());
}

void launch(GraphHandle graph, Stream stream, int index) {
  set_device(index);
  check(OPHIS_GPU(GraphLaunch)(to_graph(graph), to_native(stream)), "launching a graph");
}

void destroy_graph(GraphHandle graph) noexcept { ignore(OPHIS_GPU(GraphExecDestroy)(to_graph(graph))); }

void check(Status status, const char* action) {
  if (status == OPHIS_GPU(Success)) [[likely]]
    return;
  ignore(OPHIS_GPU(GetLastError)());
  const auto message = [&](const char* advice) {
    return detail::concat(vendor, ": ", action, " failed: ", OPHIS_GPU(GetErrorName)(status), " (",
                          OPHIS_GPU(GetErrorString)(status), ')', advice);
  };
  const auto is_among = [&](const auto& list) {
    return std::find(list.begin(), list.end(), status) != list.end();
  };
  if (status == OPHIS_GPU(ErrorMemoryAllocation))
    throw Error(ErrorCode::out_of_memory, message("; use a smaller batch, shorter pieces or a 16-bit dtype"));
  if (is_among(unusable)) throw Error(ErrorCode::unsupported, message(""));
  if (is_among(failed_kernel)) {
    lost = true;
    throw Error(
        ErrorCode::internal,
        message("; a kernel has failed, and this process can use the device no more (the CPU it can)"));
  }
  throw Error(ErrorCode::internal, message(""));
}

const DeviceProperties& properties(Device device) {
  static std::mutex mutex;
  static std::array<DeviceProperties, max_devices> table{};
  const std::lock_guard lock(mutex);
  DeviceProperties& entry = table[static_cast<std::size_t>(device.index)];
  if (entry.compute_capability == 0) {
    const auto attribute = [&](auto name) {
      int value = 0;
      check(OPHIS_GPU(DeviceGetAttribute)(&value, name, device.index), "asking for a property of the device");
      return value;
    };
    entry = {attribute(capability_major) * 10 + attribute(capability_minor), attribute(multiprocessors),
             attribute(shared_memory_per_block), attribute(l2_bytes)};
  }
  return entry;
}

NativeStream stream(ExecContext& exec) {
  set_device(exec.device().index);
  return to_native(exec.native_stream());
}

}  // namespace ophis::gpu
