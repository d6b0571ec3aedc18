// The configuration of a model in a GGUF file.
#pragma once

#include "models/src/json.hpp"
#include "ophis/models/checkpoint.hpp"

namespace ophis {

/// What Hugging Face's config.json would say about the model, from the file's metadata and tensors. Throws
/// Error(corrupt_data), and Error(unsupported) for architectures other than Mamba and Mamba-2.
nlohmann::json gguf_config(const Checkpoint& checkpoint);

}  // namespace ophis
