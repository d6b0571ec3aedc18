// Reading GGUF, the format of llama.cpp's models.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "models/src/gguf/gguf_metadata.hpp"
#include "models/src/tensor_record.hpp"

namespace ophis {

/// Finds and checks the tensors of a file in memory; axes are in row-major order, the last one dense. Blocks
/// of quantized elements have no DType. Throws Error: corrupt_data, unsupported (version 1, big-endian data,
/// a part of a split model, types that have no number here), naming `origin`.
FileContents read_gguf(std::span<const std::byte> file, std::string_view origin);

/// The metadata alone. `file` must outlive it.
gguf::Metadata read_gguf_metadata(std::span<const std::byte> file, std::string_view origin);

}  // namespace ophis
