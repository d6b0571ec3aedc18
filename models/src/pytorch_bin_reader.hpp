// PyTorch's pytorch_model.bin: a zip archive with a pickle that describes the tensors and one entry for each
// storage.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "models/src/tensor_record.hpp"

namespace ophis {

/// Finds and checks the tensors of a file in memory. Throws Error: corrupt_data, unsupported (the format of
/// PyTorch before 1.6, compressed entries, big-endian data, a pickle that holds more than tensors), naming
/// `origin`.
FileContents read_pytorch_bin(std::span<const std::byte> file, std::string_view origin);

}  // namespace ophis
