// The bridge from ExecContext to the runtime of CUDA or HIP, for kernels that are not written in Kokkos. Only
// in builds for a GPU.
//
// The two runtimes name what they have in common alike, so that code for both is written once:
// OPHIS_GPU(MemcpyAsync) is cudaMemcpyAsync or hipMemcpyAsync.
#pragma once

#if defined(__HIP__) || defined(__HIP_PLATFORM_AMD__)
#include <hip/hip_runtime_api.h>
#define OPHIS_GPU(name) hip##name
#else
#include <cuda_runtime_api.h>
#define OPHIS_GPU(name) cuda##name
#endif

#include "ophis/core/exec_context.hpp"

namespace ophis::gpu {

/// Throws Error(out_of_memory | unsupported | internal) that says `action` unless status is success.
void check(OPHIS_GPU(Error_t) status, const char* action);

/// Throws if the kernel launch before it was refused.
inline void check_launch(const char* kernel) { check(OPHIS_GPU(GetLastError)(), kernel); }

/// The stream of a context on a GPU, which becomes the calling thread's current device.
OPHIS_GPU(Stream_t) stream(ExecContext& exec);

/// What kernels choose their form by.
struct DeviceProperties {
  int compute_capability;       ///< 90 for 9.0; on an AMD GPU the first two digits of its gfx number
  int multiprocessors;          ///< number of SMs or compute units
  int shared_memory_per_block;  ///< bytes, with opt-in
  int l2_bytes;                 ///< of the level-2 cache
};
/// Looked up once per device.
const DeviceProperties& properties(Device device);

}  // namespace ophis::gpu
