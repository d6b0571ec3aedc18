// Launching kernels that are written as ThreadBlocks.
#pragma once

#include "ophis/core/gpu_runtime.hpp"
#include "ophis/core/thread_block.hpp"

namespace ophis::hip {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::Block::threads) run_block(const Kernel kernel) {
  __shared__ typename Kernel::Shared shared;
  kernel(blockIdx.x, shared);
}

/// Queues kernel(block, shared) for blocks 0 ... blocks - 1, of less than 2^31.
template <class Kernel>
void launch_blocks(const char* name, ExecContext& exec, const Kernel& kernel, std::int64_t blocks) {
  static_assert(sizeof(typename Kernel::Shared) <= 64 * 1024, "a block has 64 KiB of shared memory");
  run_block<<<dim3(static_cast<unsigned>(blocks)), dim3(Kernel::Block::threads), 0, gpu::stream(exec)>>>(
      kernel);
  gpu::check_launch(name);
}

}  // namespace ophis::hip
