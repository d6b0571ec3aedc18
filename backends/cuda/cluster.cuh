// Blocks that share a piece of work and write to each other's shared memory.
#pragma once

#include <cooperative_groups.h>

namespace ophis::cuda {

/// The cluster of a block, in a kernel queued with a Grid of clusters, of one block where there are none. A
/// block may be written to once it has begun: all call arrive() when they begin, and wait() before they
/// write.
class Cluster {
 public:
  /// Of `blocks` blocks, of which this is number `block`.
  __device__ Cluster(unsigned blocks, unsigned block) : m_blocks(blocks), m_block(block) {}

  __device__ unsigned blocks() const { return m_blocks; }
  __device__ unsigned block() const { return m_block; }

  /// The first half of sync(): what this thread wrote before, others see behind their wait().
  __device__ void arrive() const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (m_blocks > 1) asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
  }
  /// The second half.
  __device__ void wait() const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (m_blocks > 1) {
      asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
      return;
    }
#endif
    __syncthreads();
  }
  /// All threads of all blocks meet.
  __device__ void sync() const {
    arrive();
    wait();
  }

  /// Where another block has what this one has at `shared`.
  template <class T>
  __device__ T* of_block(T* shared, [[maybe_unused]] unsigned block) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (m_blocks > 1) return cooperative_groups::this_cluster().map_shared_rank(shared, block);
#endif
    return shared;
  }

 private:
  unsigned m_blocks, m_block;
};

}  // namespace ophis::cuda
