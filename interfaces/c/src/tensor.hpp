// Between the tensors, dtypes and devices of C and those of C++.
#pragma once

#include <ophis.h>

#include "ophis/core/tensor.hpp"

namespace ophis::c {

/// Throws Error(invalid_argument) on a device type or number that does not exist.
Device to_device(ophis_device device);
ophis_device from_device(Device device);

/// Throws Error(invalid_argument) on a dtype that DType lacks.
DType to_dtype(ophis_dtype dtype);
ophis_dtype from_dtype(DType dtype);

/// A shape, or strides, of at most six axes. Throws Error(invalid_argument).
Dims to_dims(const std::int64_t* values, std::int32_t ndim);

/// The tensor that a caller describes; NULL is an empty one. Throws Error(invalid_argument) on a description
/// that contradicts itself or reaches beyond the address space.
Tensor to_tensor(const ophis_tensor* tensor);

/// A tensor's description, which holds its shape and strides.
class TensorView : public ophis_tensor {
 public:
  explicit TensorView(const Tensor& tensor);
  TensorView(const TensorView&) = delete;
  TensorView& operator=(const TensorView&) = delete;

 private:
  Dims m_shape, m_strides;
};

}  // namespace ophis::c
