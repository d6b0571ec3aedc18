// Python's arrays as Tensors, and back: DLPack and the buffer protocol, without copies.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "ophis/core/buffer.hpp"

namespace nb = nanobind;

namespace ophis::python {

/// A Python array: a Tensor that keeps the array's memory alive.
struct Array {
  nb::ndarray<nb::ro> owner;
  Tensor tensor;
};

/// A view of an object that speaks DLPack or the buffer protocol, of a DLPack capsule, or of None (an absent
/// tensor). Throws Error(invalid_argument) that says `name` and what came.
Array to_array(nb::handle object, const char* name, bool is_written);

/// The array library whose arrays are like `object`: "numpy", "torch", "jax", "cupy", or "" for an array that
/// only speaks DLPack.
std::string library_of(nb::handle object);

/// A Python array that owns the tensor's memory, of a library as library_of names it. numpy knows no bfloat16
/// and only the host's memory; the tensor must be on the host for it.
nb::object to_python(OwnedTensor tensor, const std::string& library);

/// The same for memory that `owner` keeps alive.
nb::object to_python(const Tensor& tensor, nb::handle owner, const std::string& library);

/// Dims from a Python sequence of integers.
Dims to_dims(nb::handle shape);

}  // namespace ophis::python
