#include <array>
#include <atomic>
#include <mutex>

#include "core/src/cuda_driver.hpp"
#include "core/src/gpu.hpp"
#include "ophis/core/cuda.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace gpu {
namespace {

constexpr int max_devices = 64;

std::atomic<bool> lost{false};

cudaStream_t to_cuda(Stream stream) { return static_cast<cudaStream_t>(stream); }
cudaGraphExec_t to_graph(GraphHandle graph) { return static_cast<cudaGraphExec_t>(graph); }
cudaEvent_t to_event(Event event) { return static_cast<cudaEvent_t>(event); }

void set_device(int index) { cuda::check(cudaSetDevice(index), "choosing the device"); }

/// A kernel of this library, to ask whether the driver can run what this build contains.
__global__ void probe() {}

std::string find_why_not(int index) {
  provide_driver_functions();
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    cudaGetLastError();
    return detail::concat("CUDA finds no device it can use: ", cudaGetErrorString(status));
  }
  if (index >= count) return detail::concat("there are ", count, " CUDA devices, numbered from 0");
  if (index >= max_devices) return detail::concat("only the first ", max_devices, " devices are used");
  int previous = 0;
  cudaGetDevice(&previous);
  cudaSetDevice(index);
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, probe);
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
  cudaSetDevice(previous);
  cudaGetLastError();
  if (status == cudaSuccess) return {};
  return detail::concat("the device has compute capability ", major, '.', minor,
                        ", which this build (CMAKE_CUDA_ARCHITECTURES=" OPHIS_CUDA_ARCHITECTURES
                        ") has no code for: ",
                        cudaGetErrorString(status));
}

/// The stream that a device's allocations are ordered on, and its pool, which keeps what is freed.
class Pool {
 public:
  explicit Pool(int index) {
    cuda::check(cudaStreamCreateWithFlags(&m_stream, cudaStreamNonBlocking), "creating a stream");
    cuda::check(cudaDeviceGetDefaultMemPool(&m_pool, index), "finding the memory pool");
    std::uint64_t keep = ~std::uint64_t{0};
    cuda::check(cudaMemPoolSetAttribute(m_pool, cudaMemPoolAttrReleaseThreshold, &keep),
                "setting up the memory pool");
  }

  void* allocate(std::size_t bytes, int index) {
    const std::lock_guard lock(m_mutex);
    void* data = nullptr;
    cudaError_t status = cudaMallocAsync(&data, bytes, m_stream);
    if (status == cudaErrorMemoryAllocation) {  // perhaps other programs need what the pool keeps for later
      cudaGetLastError();
      cudaMemPoolTrimTo(m_pool, 0);
      status = cudaMallocAsync(&data, bytes, m_stream);
    }
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      std::size_t available = 0, total = 0;
      cudaMemGetInfo(&available, &total);
      fail(
          ErrorCode::out_of_memory, "could not allocate ", bytes, " bytes on cuda:", index, ", which has ",
          available, " of ", total,
          " bytes left; use a smaller batch or shorter pieces, a 16-bit dtype, or a device with more memory");
    }
    cuda::check(status, "allocating memory");
    cuda::check(cudaStreamSynchronize(m_stream), "allocating memory");
    return data;
  }

  void free(void* data) noexcept {
    const std::lock_guard lock(m_mutex);
    cudaFreeAsync(data, m_stream);
  }

 private:
  std::mutex m_mutex;
  cudaStream_t m_stream = nullptr;
  cudaMemPool_t m_pool = nullptr;
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

DeviceType type() noexcept { return DeviceType::cuda; }

bool is_lost() noexcept { return lost; }

int count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
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
  cudaSetDevice(index);
  pool(index).free(data);
}

void* allocate_managed(std::size_t bytes, int index) {
  set_device(index);
  void* data = nullptr;
  cuda::check(cudaMallocManaged(&data, bytes), "allocating managed memory");
  return data;
}

void free_managed(void* data) noexcept { cudaFree(data); }

void* allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  cuda::check(cudaMallocHost(&data, bytes), "allocating page-locked memory");
  return data;
}

void free_pinned(void* data) noexcept { cudaFreeHost(data); }

Stream create_stream(int index) {
  set_device(index);
  cudaStream_t stream = nullptr;
  cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return stream;
}

void destroy_stream(Stream stream, int index) noexcept {
  cudaSetDevice(index);
  cudaStreamDestroy(to_cuda(stream));
}

void synchronize(Stream stream, int index) {
  set_device(index);
  cuda::check(cudaStreamSynchronize(to_cuda(stream)), "waiting for the device");
}

void copy(void* to, const void* from, std::size_t bytes, Stream stream, int index) {
  set_device(index);
  cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, to_cuda(stream)), "copying");
}

void fill_with_zeros(void* to, std::size_t bytes, Stream stream, int index) {
  set_device(index);
  cuda::check(cudaMemsetAsync(to, 0, bytes, to_cuda(stream)), "filling memory");
}

Event create_event(int index, bool timing) {
  set_device(index);
  cudaEvent_t event = nullptr;
  const unsigned int flags = timing ? cudaEventDefault : cudaEventDisableTiming;
  cuda::check(cudaEventCreateWithFlags(&event, flags), "creating an event");
  return event;
}

void destroy_event(Event event) noexcept { cudaEventDestroy(to_event(event)); }

void record(Event event, Stream stream, int index) {
  set_device(index);
  cuda::check(cudaEventRecord(to_event(event), to_cuda(stream)), "recording an event");
}

void wait(Event event, int index) {
  set_device(index);
  cuda::check(cudaEventSynchronize(to_event(event)), "waiting for the device");
}

double seconds_between(Event start, Event end, int index) {
  wait(end, index);
  float milliseconds = 0.0f;
  cuda::check(cudaEventElapsedTime(&milliseconds, to_event(start), to_event(end)), "timing");
  return 1e-3 * static_cast<double>(milliseconds);
}

void begin_recording(Stream stream, int index) {
  set_device(index);
  cuda::check(cudaStreamBeginCapture(to_cuda(stream), cudaStreamCaptureModeThreadLocal), "recording a graph");
}

GraphHandle end_recording(Stream stream, int index) {
  set_device(index);
  cudaGraph_t graph = nullptr;
  cuda::check(cudaStreamEndCapture(to_cuda(stream), &graph), "recording a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  cuda::check(status, "instantiating a graph");
  return executable;
}

void abandon_recording(Stream stream, int index) noexcept {
  cudaSetDevice(index);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(to_cuda(stream), &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void launch(GraphHandle graph, Stream stream, int index) {
  set_device(index);
  cuda::check(cudaGraphLaunch(to_graph(graph), to_cuda(stream)), "launching a graph");
}

void destroy_graph(GraphHandle graph) noexcept { cudaGraphExecDestroy(to_graph(graph)); }

}  // namespace gpu

namespace cuda {

void check(cudaError_t status, const char* action) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();
  const auto message = [&](const char* advice) {
    return detail::concat("CUDA: ", action, " failed: ", cudaGetErrorName(status), " (",
                          cudaGetErrorString(status), ')', advice);
  };
  switch (status) {
    case cudaErrorMemoryAllocation:
      throw Error(ErrorCode::out_of_memory,
                  message("; use a smaller batch, shorter pieces or a 16-bit dtype"));
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorSystemDriverMismatch:
      throw Error(ErrorCode::unsupported, message(""));
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
      gpu::lost = true;
      throw Error(
          ErrorCode::internal,
          message("; a kernel has failed, and this process can use the device no more (the CPU it can)"));
    default:
      throw Error(ErrorCode::internal, message(""));
  }
}

const DeviceProperties& properties(Device device) {
  static std::mutex mutex;
  static std::array<DeviceProperties, gpu::max_devices> table{};
  const std::lock_guard lock(mutex);
  DeviceProperties& entry = table[static_cast<std::size_t>(device.index)];
  if (entry.compute_capability == 0) {
    const auto attribute = [&](cudaDeviceAttr name) {
      int value = 0;
      check(cudaDeviceGetAttribute(&value, name, device.index), "asking for a property of the device");
      return value;
    };
    entry = {attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor),
             attribute(cudaDevAttrMultiProcessorCount), attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin),
             attribute(cudaDevAttrL2CacheSize)};
  }
  return entry;
}

cudaStream_t stream(ExecContext& exec) {
  check(cudaSetDevice(exec.device().index), "choosing the device");
  return static_cast<cudaStream_t>(exec.native_stream());
}

}  // namespace cuda
}  // namespace ophis
