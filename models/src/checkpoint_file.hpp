// Which file of a model holds its weights, and how it is written.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "ophis/models/checkpoint.hpp"

namespace ophis {

/// The file of weights, or the index of shards, that a folder is read by; nothing if it has none. Throws
/// Error(invalid_argument) if it has nothing but several files *.gguf.
std::optional<std::filesystem::path> find_checkpoint_file(const std::filesystem::path& folder);

/// The same. Throws Error(not_found) with the names looked for.
std::filesystem::path require_checkpoint_file(const std::filesystem::path& folder);

/// By the file's name, or else by how its content begins.
CheckpointFormat format_of(const std::filesystem::path& file, std::span<const std::byte> content);

/// The GGUF file that a model is read from: `model` itself, or the one in the folder `model`; nothing if its
/// weights are in another format, or if it has none.
std::optional<std::filesystem::path> find_gguf(const std::filesystem::path& model);

}  // namespace ophis
