// Writing safetensors files.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "ophis/core/tensor.hpp"

namespace ophis {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes `tensors` (host memory, any dtype, possibly strided) to a safetensors file. The same input gives
/// the same bytes: data lie in the order given, tensors with larger elements first so that each one is
/// aligned.
///
/// The file appears whole or not at all: it is written under another name in the same folder and then
/// renamed, which replaces an older file of that name.
///
/// Throws Error: invalid_argument (a name twice or not UTF-8, an empty tensor), unsupported (memory of
/// another device), not_found (no such folder), io (e.g. a full disk).
void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace ophis
