// What the sequences of one generation have said, and which still run.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/src/stop_strings.hpp"
#include "ophis/models/generation.hpp"

namespace ophis {

/// One sequence.
class GenerationSequence {
 public:
  GenerationSequence(std::size_t index, const GenerationOptions& options, std::span<const std::int64_t> eos);

  bool goes_on() const noexcept { return !m_reason; }
  /// Takes its next token and what it is chosen from, logits (vocab) float32 or nothing, and tells the
  /// callbacks; returns false if one of them wants generation to stop.
  bool take(std::int32_t id, std::optional<float> logprob, const Tensor& logits);
  void cancel() { m_reason = FinishReason::cancelled; }
  /// Adds what it has said to the end of a result.
  void move_to(GenerationResult& result) &&;

 private:
  std::optional<FinishReason> reason_to_end(std::int32_t id) const;
  bool tell(const std::string& piece);

  std::size_t m_index;
  const GenerationOptions& m_options;
  std::span<const std::int64_t> m_eos;
  StopStrings m_stop;
  std::optional<StreamDecoder> m_decoder;
  TokenIds m_ids;
  std::vector<float> m_logprobs;
  std::vector<std::vector<TokenLogprob>> m_top_logprobs;
  std::string m_text;
  std::optional<FinishReason> m_reason;
};

/// All of them.
class GenerationProgress {
 public:
  GenerationProgress(std::size_t sequences, const LanguageModelConfig& config,
                     const GenerationOptions& options);
  GenerationProgress(const GenerationProgress&) = delete;
  GenerationProgress& operator=(const GenerationProgress&) = delete;

  /// Takes the next token of every sequence that still runs, from ids (sequences) int64 and, if they are
  /// given, losses (sequences) and logits (sequences, vocab) float32; returns whether any goes on.
  bool take(const Tensor& ids, const Tensor& losses, const Tensor& logits);
  void move_to(GenerationResult& result) &&;

 private:
  std::vector<std::int64_t> m_eos;
  std::vector<GenerationSequence> m_sequences;
};

}  // namespace ophis
