// The tokenizer in a GGUF file.
#pragma once

#include <filesystem>

#include "models/src/json.hpp"

namespace ophis {

/// What a Hugging Face tokenizer.json would say. Throws Error(corrupt_data), and Error(unsupported) that
/// names a kind of tokenizer or a pre-tokenizer that Ophis does not know.
nlohmann::json load_gguf_tokenizer(const std::filesystem::path& file);

}  // namespace ophis
