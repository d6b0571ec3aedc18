// The states of a model in a file, to go on from later.
#pragma once

#include <filesystem>
#include <span>

#include "ophis/models/generation.hpp"
#include "ophis/models/language_model.hpp"

namespace ophis {

/// Writes the states of a cache of `model`, bit for bit, to a safetensors file, which appears whole or not at
/// all. `tokens`, one list for each sequence or none, go along: those that the states have seen, or whatever
/// the caller wants to find again. docs/models/language_model.md describes the file.
///
/// Throws Error: invalid_argument (a cache of another model, tokens outside the vocabulary), not_found (no
/// such folder), io.
void save_cache(ExecContext& exec, const std::filesystem::path& path, const LanguageModel& model,
                const ModelCache& cache, std::span<const TokenIds> tokens = {});

/// Reads them back into a cache of `model` of the same batch and state dtype; returns the tokens. If it
/// throws, the cache is as it was. A file is taken only if it was written for a model of the same
/// configuration and dtype; that the weights are the same is the caller's care.
///
/// Throws Error: not_found, io, corrupt_data (not such a file, or one that contradicts itself),
/// invalid_argument (of another model, batch or dtype).
std::vector<TokenIds> load_cache(ExecContext& exec, const std::filesystem::path& path,
                                 const LanguageModel& model, ModelCache& cache);

}  // namespace ophis
