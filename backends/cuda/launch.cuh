// Launching kernels so that each may start while the one before it ends (programmatic dependent launch).
#pragma once

#include <cuda_runtime.h>

#include "ophis/core/cuda.hpp"

namespace ophis::cuda {

/// In a kernel: lets the next one start beside this one, as soon as its blocks find room. Safe at any time:
/// the next one waits for the end of this one, which waits for the end of all before.
__device__ inline void start_next_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// In a kernel: waits until the kernel queued before has ended, and so all before that one, and their results
/// are visible. Before it a kernel may read only what no kernel queued before it writes.
__device__ inline void wait_for_previous_kernel() {
  start_next_kernel();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Asks for a line of memory without reading it, so that it is in the second-level cache when it is read. As
/// all multiprocessors see memory through that cache, also before the kernel that writes it has ended.
__device__ inline void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

/// The blocks of a kernel; on compute capability 9.0 and up, `cluster` blocks in a row along x may read each
/// other's shared memory.
struct Grid {
  dim3 blocks;
  unsigned cluster = 1;

  Grid(dim3 blocks, unsigned cluster = 1) : blocks(blocks), cluster(cluster) {}
};

/// Queues a kernel that calls wait_for_previous_kernel() in every thread, before it writes anything and
/// before it reads what the kernel before it writes.
template <class... Parameters, class... Arguments>
void launch_overlapped(const char* name, ExecContext& exec, void (*kernel)(Parameters...), const Grid& grid,
                       dim3 block, std::size_t shared_bytes, const Arguments&... arguments) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {grid.cluster, 1, 1};
  const bool has_both = properties(exec.device()).compute_capability >= 90;
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream(exec);
  config.attrs = attributes;
  config.numAttrs = !has_both ? 0 : grid.cluster > 1 ? 2 : 1;
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), name);
}

}  // namespace ophis::cuda
