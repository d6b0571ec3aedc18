// The header of safetensors files, and the index of sharded checkpoints.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "models/src/tensor_record.hpp"

namespace ophis {

/// Reads and checks the header of a safetensors file. Every byte of the data must belong to exactly one
/// tensor. Throws Error(corrupt_data) that names `origin` and the tensor.
FileContents read_safetensors(std::span<const std::byte> file, std::string_view origin);

/// The weight_map of a ...index.json, turned around: the name of a file in the same folder -> the tensors it
/// holds. Throws Error(corrupt_data), also on file names that lead out of the folder.
std::map<std::string, std::set<std::string>> read_shard_index(const std::filesystem::path& path);

}  // namespace ophis
