// Parameters as CUDA kernels read them: any compute dtype and strides, without a copy.
#pragma once

#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "ophis/core/tensor.hpp"

namespace ophis::cuda {

/// The value of an element of 16 bits, which are a word's lower half.
__device__ inline float value_of_half(std::uint32_t bits, DType dtype) {
  if (dtype == DType::bfloat16) return __uint_as_float(bits << 16);
  return __half2float(__ushort_as_half(static_cast<std::uint16_t>(bits)));
}
/// The value of an element of any compute dtype.
__device__ inline float value_of(std::uint32_t bits, DType dtype) {
  return dtype == DType::float32 ? __uint_as_float(bits) : value_of_half(bits, dtype);
}

/// A parameter of up to two axes; 0 everywhere where it is not given.
struct Parameter {
  const void* data;
  DType dtype;
  std::int64_t strides[2];

  explicit Parameter(const Tensor& tensor) : data(tensor.raw()), dtype(tensor.dtype()), strides{} {
    for (int i = 0; i < tensor.rank(); ++i) strides[i] = tensor.stride(i);
  }

  /// The bits of an element, to be converted when it is needed, so that nothing waits for it before.
  __device__ std::uint32_t load(std::int64_t i, std::int64_t j = 0) const {
    const std::int64_t offset = i * strides[0] + j * strides[1];
    std::uint32_t bits = 0;
    if (dtype == DType::float32) {
      if (data) bits = static_cast<const std::uint32_t*>(data)[offset];
    } else {
      if (data) bits = static_cast<const std::uint16_t*>(data)[offset];
    }
    return bits;
  }
  __device__ float value(std::uint32_t bits) const { return value_of(bits, dtype); }
  __device__ float at(std::int64_t i, std::int64_t j = 0) const { return value(load(i, j)); }
  /// Asks for the cache line of an element along the first axis.
  __device__ void prefetch(std::int64_t i) const {
    const auto bytes = i * strides[0] * (dtype == DType::float32 ? 4 : 2);
    if (data) cuda::prefetch(static_cast<const char*>(data) + bytes);
  }
};

}  // namespace ophis::cuda
