// Text generation with a language model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/models/language_model.hpp"
#include "ophis/models/tokenizer.hpp"

namespace ophis {

/// The ids of one sequence.
using TokenIds = std::vector<std::int32_t>;

/// How a token is chosen from the logits; docs/ops/sample.md says it in formulas. The filters work one after
/// the other in the order of transformers: penalties, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double temperature = 0.0;         ///< 0: the most probable token (greedy), of equal ones the lowest id
  std::int64_t top_k = 0;           ///< keep so many of the most probable tokens; 0: all
  double top_p = 1.0;               ///< keep the most probable tokens that together reach it; 1: all
  double min_p = 0.0;               ///< keep tokens at least so probable as a part of the most probable one
  double repetition_penalty = 1.0;  ///< on tokens of the history, the prompt and the new text; 1: none
  double presence_penalty = 0.0;    ///< taken from the logits of tokens in the new text
  double frequency_penalty = 0.0;   ///< the same, for each time that they are in it
  /// Of the random numbers. The one for a token depends on the seed, which of the num_return_sequences it is
  /// for, its position in the text, and its id: not on the batch around it, and not on the device.
  std::uint64_t seed = 0;
};

/// Throws Error(invalid_argument) that names the option, its value and what it may be.
void check_sampling(const SamplingOptions& options);

struct GenerationOptions {
  std::int64_t max_new_tokens = 128;
  DType state_dtype = DType::float32;  ///< of the cache, as LanguageModel::make_cache takes it
  /// A sequence ends with the first of these; none: the model's own eos_token_ids.
  std::optional<std::vector<std::int64_t>> eos_token_ids;
  /// Called with every new token as it comes; generation stops when it returns false.
  std::function<bool(std::size_t sequence, std::int32_t id)> on_token;

  SamplingOptions sampling;
  std::int64_t num_return_sequences = 1;  ///< of each prompt, side by side in the result
  bool logprobs = false;                  ///< fill GenerationResult::logprobs
  std::int64_t top_logprobs = 0;          ///< fill GenerationResult::top_logprobs with so many a token
  /// Decodes the new tokens (without special ones) for `stop`, on_text and GenerationResult::texts.
  const Tokenizer* tokenizer = nullptr;
  /// A sequence ends where the first of these is complete in its new text, which is cut before it. Needs a
  /// tokenizer.
  std::vector<std::string> stop;
  /// Called with new text as it comes, whole characters; what may be the beginning of a stop string is held
  /// back. Generation stops when it returns false. Needs a tokenizer.
  std::function<bool(std::size_t sequence, std::string_view text)> on_text;

  /// Go on from these states, one for each prompt, instead of empty ones. They then have seen all but the
  /// last of the new tokens, or, where a sequence ended before others, tokens beyond its end. Needs
  /// num_return_sequences to be 1.
  ModelCache* cache = nullptr;
  /// What the cache has seen already, one list for each prompt or none: for the repetition penalty.
  std::vector<TokenIds> history;
};

/// Why a sequence ended.
enum class FinishReason {
  length,    ///< max_new_tokens
  eos,       ///< one of eos_token_ids
  stop,      ///< a stop string
  cancelled  ///< a callback returned false
};

/// "length", "eos", ...
const char* to_string(FinishReason reason) noexcept;

/// A token that might have been, and the logarithm of its probability.
struct TokenLogprob {
  std::int32_t id;  ///< in the vocabulary
  float logprob;    ///< natural
};

/// Sequences: num_return_sequences of the first prompt, then those of the second, ...
struct GenerationResult {
  std::vector<TokenIds> ids;           ///< per sequence the new tokens; the one that ended it is the last
  std::vector<FinishReason> finished;  ///< why each sequence ended
  std::vector<std::string> texts;      ///< with a tokenizer: the new text, cut before a stop string
  /// With `logprobs`: for each token the logarithm of its probability, by the model's softmax alone, without
  /// penalties, temperature or filters.
  std::vector<std::vector<float>> logprobs;
  /// With `top_logprobs`: for each token the most probable ones at its place by that softmax, the first of
  /// them first; of equal ones the lowest id.
  std::vector<std::vector<std::vector<TokenLogprob>>> top_logprobs;
  std::int64_t prompt_tokens = 0;  ///< of all prompts, without padding
  std::int64_t steps = 0;          ///< one-step updates done after the prefill
  double prefill_seconds = 0.0;    ///< from the start to the first token
  double decode_seconds = 0.0;     ///< the steps
};

/// Continues each prompt, token by token. Prompts of different lengths are padded on the left. Throws
/// Error(invalid_argument) on an empty prompt, an id outside the vocabulary or an option out of range.
GenerationResult generate(const LanguageModel& model, ExecContext& exec, std::span<const TokenIds> prompts,
                          const GenerationOptions& options);

}  // namespace ophis
