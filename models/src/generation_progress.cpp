#include "models/src/generation_progress.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace ophis {
namespace {

/// The most probable tokens by logits (vocab) float32. As in argmax, NaN is larger than every number.
std::vector<TokenLogprob> most_probable(const Tensor& logits, std::int64_t count) {
  const float* const x = logits.data<float>();
  const auto rank = [x](std::int32_t id) {
    return std::isnan(x[id]) ? std::numeric_limits<float>::infinity() : x[id];
  };
  std::vector<std::int32_t> ids(static_cast<std::size_t>(logits.count()));
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [&](std::int32_t a, std::int32_t b) {
    return rank(a) != rank(b) ? rank(a) > rank(b) : a < b;
  });
  const double largest = x[ids[0]];
  double sum = 0.0;
  for (std::int64_t v = 0; v < logits.count(); ++v) sum += std::exp(static_cast<double>(x[v]) - largest);
  const double log_sum = largest + std::log(sum);
  std::vector<TokenLogprob> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t id = ids[static_cast<std::size_t>(i)];
    tokens.push_back({id, static_cast<float>(static_cast<double>(x[id]) - log_sum)});
  }
  return tokens;
}

}  // namespace

const char* to_string(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::length:
      return "length";
    case FinishReason::eos:
      return "eos";
    case FinishReason::stop:
      return "stop";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

GenerationSequence::GenerationSequence(std::size_t index, const GenerationOptions& options,
                                       std::span<const std::int64_t> eos)
    : m_index(index), m_options(options), m_eos(eos), m_stop(options.stop) {
  if (options.tokenizer) m_decoder.emplace(*options.tokenizer, true);
}

bool GenerationSequence::take(std::int32_t id, std::optional<float> logprob, const Tensor& logits) {
  m_ids.push_back(id);
  if (logprob) m_logprobs.push_back(*logprob);
  if (logits) m_top_logprobs.push_back(most_probable(logits, m_options.top_logprobs));
  bool wanted = !m_options.on_token || m_options.on_token(m_index, id);
  if (wanted && m_decoder) wanted = tell(m_stop.push(m_decoder->push(id)));
  m_reason = reason_to_end(id);
  if (wanted && m_decoder && m_reason && m_reason != FinishReason::stop) {
    std::string held_back = m_stop.push(m_decoder->flush());
    held_back += m_stop.flush();
    wanted = tell(held_back);
  }
  if (!wanted) cancel();
  return wanted;
}

std::optional<FinishReason> GenerationSequence::reason_to_end(std::int32_t id) const {
  if (m_stop.found()) return FinishReason::stop;
  if (std::find(m_eos.begin(), m_eos.end(), id) != m_eos.end()) return FinishReason::eos;
  if (std::ssize(m_ids) == m_options.max_new_tokens) return FinishReason::length;
  return std::nullopt;
}

bool GenerationSequence::tell(const std::string& piece) {
  m_text += piece;
  return piece.empty() || !m_options.on_text || m_options.on_text(m_index, piece);
}

void GenerationSequence::move_to(GenerationResult& result) && {
  result.ids.push_back(std::move(m_ids));
  result.finished.push_back(m_reason.value_or(FinishReason::length));
  if (m_options.tokenizer) result.texts.push_back(std::move(m_text));
  if (m_options.logprobs) result.logprobs.push_back(std::move(m_logprobs));
  if (m_options.top_logprobs > 0) result.top_logprobs.push_back(std::move(m_top_logprobs));
}

GenerationProgress::GenerationProgress(std::size_t sequences, const LanguageModelConfig& config,
                                       const GenerationOptions& options)
    : m_eos(options.eos_token_ids.value_or(config.eos_token_ids)) {
  m_sequences.reserve(sequences);
  for (std::size_t i = 0; i < sequences; ++i) m_sequences.emplace_back(i, options, m_eos);
}

bool GenerationProgress::take(const Tensor& ids, const Tensor& losses, const Tensor& logits) {
  bool any = false;
  for (std::size_t i = 0; i < m_sequences.size(); ++i) {
    GenerationSequence& sequence = m_sequences[i];
    if (!sequence.goes_on()) continue;
    const auto id = static_cast<std::int32_t>(ids.data<std::int64_t>()[i]);
    const auto logprob = losses ? std::optional(-losses.data<float>()[i]) : std::nullopt;
    if (!sequence.take(id, logprob, logits ? logits.select(0, static_cast<std::int64_t>(i)) : Tensor())) {
      for (GenerationSequence& other : m_sequences) {
        if (other.goes_on()) other.cancel();
      }
      return false;
    }
    any = any || sequence.goes_on();
  }
  return any;
}

void GenerationProgress::move_to(GenerationResult& result) && {
  for (GenerationSequence& sequence : m_sequences) std::move(sequence).move_to(result);
}

}  // namespace ophis
