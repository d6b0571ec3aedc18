// ThreadBlock: a block of threads of a GPU, for kernels that the CPU can run too, thread after thread, to be
// tested where there is no such GPU.
#pragma once

#include "ophis/core/macros.hpp"
#if defined(__HIP__)
#include <hip/hip_runtime.h>
#endif

namespace ophis {

/// A kernel is a row of phases. In a phase threads (or waves) do not depend on each other; at its end they
/// wait for each other, and see what the others wrote.
template <int wave_count, int lane_count>
struct ThreadBlock {
  static constexpr int waves = wave_count, threads = wave_count * lane_count;

  /// Calls f(thread) for every thread.
  template <class F>
  OPHIS_INLINE_FUNCTION void each_thread(const F& f) const {
#if OPHIS_ON_GPU
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
#else
    for (int thread = 0; thread < threads; ++thread) f(thread);
#endif
  }

  /// Calls f(item) for items 0 ... count - 1, in turns of the threads.
  template <class F>
  OPHIS_INLINE_FUNCTION void each_item(int count, const F& f) const {
    each_thread([&](int thread) {
      for (int item = thread; item < count; item += threads) f(item);
    });
  }

  /// Calls f(wave) for every wave, with all its lanes.
  template <class F>
  OPHIS_INLINE_FUNCTION void each_wave(const F& f) const {
#if defined(__HIP_DEVICE_COMPILE__)
    f(__builtin_amdgcn_readfirstlane(static_cast<int>(threadIdx.x) / lane_count));
    __syncthreads();
#elif OPHIS_ON_GPU
    f(static_cast<int>(threadIdx.x) / lane_count);
    __syncthreads();
#else
    for (int wave = 0; wave < waves; ++wave) f(wave);
#endif
  }
};

/// What each of `count` threads (or waves) keeps from phase to phase, in registers.
template <class T, int count>
class Private {
 public:
  OPHIS_INLINE_FUNCTION T& operator[]([[maybe_unused]] int index) {
#if OPHIS_ON_GPU
    return m_own;
#else
    return m_all[index];
#endif
  }

 private:
#if OPHIS_ON_GPU
  T m_own;
#else
  T m_all[count];
#endif
};

}  // namespace ophis
