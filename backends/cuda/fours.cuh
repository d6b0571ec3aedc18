// Four neighbouring elements at a time, as the kernels of the state updates read them.
#pragma once

#include "backends/cuda/device_functions.cuh"
#include "ophis/core/tensor.hpp"

namespace ophis::cuda {

/// Four elements as floats.
template <class T>
__device__ void load4(float (&to)[4], const T* from) {
  const auto v = *reinterpret_cast<const Vec<T, 4>*>(from);
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = to_float(v.lanes[i]);
}

/// Rounds to nearest even.
template <class T>
__device__ void store4(T* to, const float (&from)[4]) {
  Vec<T, 4> v;
#pragma unroll
  for (int i = 0; i < 4; ++i) v.lanes[i] = from_float<T>(from[i]);
  *reinterpret_cast<Vec<T, 4>*>(to) = v;
}

/// Whether runs of four along the last axis can be read at once.
inline bool in_fours(const Tensor& tensor) {
  if (tensor.stride(-1) != 1) return false;
  for (int i = 0; i + 1 < tensor.rank(); ++i) {
    if (tensor.stride(i) % 4 != 0) return false;
  }
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % (4 * size_of(tensor.dtype())) == 0;
}

}  // namespace ophis::cuda
