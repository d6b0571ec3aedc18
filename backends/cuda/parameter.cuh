// Parameters as CUDA kernels read them: any compute dtype and strides, without a copy.
#pragma once

#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "ophis/core/tensor.hpp"

namespace ophis::cuda {

/// A parameter of up to two axes; 0 everywhere where it is not given.
struct Parameter {
  const void* data;
  DType dtype;
  std::int64_t strides[2];

  explicit Parameter(const Tensor& tensor) : data(tensor.raw()), dtype(tensor.dtype()), strides{} {
    for (int i = 0; i < tensor.rank(); ++i) strides[i] = tensor.stride(i);
  }

  __device__ float at(std::int64_t i, std::int64_t j = 0) const {
    if (data == nullptr) return 0.0f;
    const std::int64_t offset = i * strides[0] + j * strides[1];
    if (dtype == DType::float32) return static_cast<const float*>(data)[offset];
    if (dtype == DType::bfloat16) return to_float(static_cast<const bfloat16*>(data)[offset]);
    return to_float(static_cast<const float16*>(data)[offset]);
  }
  /// Asks for the cache line of an element along the first axis.
  __device__ void prefetch(std::int64_t i) const {
    const auto bytes = i * strides[0] * (dtype == DType::float32 ? 4 : 2);
    if (data) cuda::prefetch(static_cast<const char*>(data) + bytes);
  }
};

}  // namespace ophis::cuda
