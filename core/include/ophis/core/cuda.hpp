// The bridge from ExecContext to the CUDA runtime, for kernels that are not written in Kokkos. Only in builds
// with BACKEND=cuda.
#pragma once

#include <cuda_runtime_api.h>

#include "ophis/core/exec_context.hpp"

namespace ophis::cuda {

/// Throws Error(out_of_memory | unsupported | internal) that says `action` unless status is cudaSuccess.
void check(cudaError_t status, const char* action);

/// Throws if the kernel launch before it was refused.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

/// The stream of a context on a CUDA device, which becomes the calling thread's current device.
cudaStream_t stream(ExecContext& exec);

/// What kernels choose their form by.
struct DeviceProperties {
  int compute_capability;       ///< 90 for 9.0
  int multiprocessors;          ///< number of SMs
  int shared_memory_per_block;  ///< bytes, with opt-in
  int l2_bytes;                 ///< of the level-2 cache
};
/// Looked up once per device.
const DeviceProperties& properties(Device device);

}  // namespace ophis::cuda
