// Text generation with a language model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "ophis/models/language_model.hpp"

namespace ophis {

using TokenIds = std::vector<std::int32_t>;

struct GenerationOptions {
  std::int64_t max_new_tokens = 128;
  DType state_dtype = DType::float32;  ///< of the cache, as LanguageModel::make_cache takes it
  /// A sequence ends with the first of these; none: the model's own eos_token_ids.
  std::optional<std::vector<std::int64_t>> eos_token_ids;
  /// Called with every new token as it comes; generation stops when it returns false.
  std::function<bool(std::size_t sequence, std::int32_t id)> on_token;
};

struct GenerationResult {
  std::vector<TokenIds> ids;       ///< per sequence the new tokens; the one that ended it is the last
  std::int64_t prompt_tokens = 0;  ///< of all sequences, without padding
  std::int64_t steps = 0;          ///< one-step updates done after the prefill
  double prefill_seconds = 0.0;    ///< from the start to the first token
  double decode_seconds = 0.0;     ///< the steps
};

/// Greedy generation: after each prompt the most probable token, again and again; of equal ones the lowest
/// id. Prompts of different lengths are padded on the left. Throws Error(invalid_argument) on an empty prompt
/// or an id outside the vocabulary.
GenerationResult generate(const LanguageModel& model, ExecContext& exec, std::span<const TokenIds> prompts,
                          const GenerationOptions& options);

}  // namespace ophis
