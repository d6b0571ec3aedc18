// Reading the pickle of a PyTorch checkpoint without Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ophis/core/dtype.hpp"

namespace ophis {

/// A tensor as the pickle describes it. Nothing is checked against the storage yet.
struct PickledTensor {
  std::string_view name;         ///< views point into the pickle
  std::string_view storage_key;  ///< the storage is the archive's entry data/<storage_key>
  DType dtype = DType::float32;
  std::int64_t storage_count = 0;   ///< elements in the storage
  std::int64_t storage_offset = 0;  ///< in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements
};

/// Reads a dict of tensors (a state dict), or one that a dict holds as "state_dict" or "model". Other values
/// of the dict are passed over.
///
/// It is a stack machine for protocols 2 to 4 that knows only numbers, strings, tuples, lists, dicts and the
/// few functions of torch._utils that rebuild tensors; it calls nothing. Time and memory are bounded by the
/// pickle's size. Throws Error: unsupported (any other function, class or opcode, named in the message),
/// corrupt_data.
std::vector<PickledTensor> read_pickled_tensors(std::span<const std::byte> pickle, std::string_view origin);

}  // namespace ophis
