#include "ophis/models/generation.hpp"

#include <algorithm>
#include <chrono>

#include "ophis/core/graph.hpp"
#include "ophis/core/readback.hpp"
#include "ophis/ops/argmax.hpp"

namespace ophis {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The prompts in one (batch, seqlen) tensor, padded on the left, with their mask where one is needed.
struct PaddedPrompts {
  PaddedPrompts(std::span<const TokenIds> prompts, const LanguageModelConfig& config) {
    std::size_t longest = 0;
    for (const TokenIds& prompt : prompts) {
      OPHIS_REQUIRE(!prompt.empty(),
                    "generate: a prompt is empty; start with the bos token if there is no text");
      for (const std::int32_t id : prompt) {
        OPHIS_REQUIRE(id >= 0 && id < config.vocab_size, "generate: token ", id,
                      " is outside the vocabulary of ", config.vocab_size);
      }
      longest = std::max(longest, prompt.size());
      tokens += static_cast<std::int64_t>(prompt.size());
    }
    const Dims shape{static_cast<std::int64_t>(prompts.size()), static_cast<std::int64_t>(longest)};
    ids = OwnedTensor(DType::int64, shape);
    mask = OwnedTensor(DType::int64, shape);
    std::int64_t* id = ids->data<std::int64_t>();
    std::int64_t* keep = mask->data<std::int64_t>();
    for (const TokenIds& prompt : prompts) {
      const auto padding = static_cast<std::ptrdiff_t>(longest - prompt.size());
      id = std::copy(prompt.begin(), prompt.end(), std::fill_n(id, padding, std::int64_t{0}));
      keep = std::fill_n(std::fill_n(keep, padding, 0), prompt.size(), 1);
      is_padded = is_padded || padding > 0;
    }
  }

  OwnedTensor ids, mask;
  bool is_padded = false;
  std::int64_t tokens = 0;
};

/// Which sequences still run, and what they have said.
class Progress {
 public:
  Progress(std::size_t batch, const LanguageModelConfig& config, const GenerationOptions& options)
      : m_ids(batch),
        m_done(batch, false),
        m_eos(options.eos_token_ids.value_or(config.eos_token_ids)),
        m_options(options) {}

  /// Takes the next token of every sequence that still runs; returns whether any goes on.
  bool take(const Tensor& next) {
    bool any = false;
    for (std::size_t i = 0; i < m_ids.size(); ++i) {
      if (m_done[i]) continue;
      const auto id = static_cast<std::int32_t>(next.data<std::int64_t>()[i]);
      m_ids[i].push_back(id);
      const bool goes_on = !m_options.on_token || m_options.on_token(i, id);
      if (!goes_on) return false;
      m_done[i] = std::find(m_eos.begin(), m_eos.end(), id) != m_eos.end();
      any = any || !m_done[i];
    }
    return any;
  }

  std::vector<TokenIds> ids() && { return std::move(m_ids); }

 private:
  std::vector<TokenIds> m_ids;
  std::vector<bool> m_done;
  std::vector<std::int64_t> m_eos;
  const GenerationOptions& m_options;
};

}  // namespace

GenerationResult generate(const LanguageModel& model, ExecContext& exec, std::span<const TokenIds> prompts,
                          const GenerationOptions& options) {
  OPHIS_REQUIRE(!prompts.empty(), "generate: there is no prompt");
  OPHIS_REQUIRE(options.max_new_tokens >= 0, "generate: max_new_tokens is ", options.max_new_tokens,
                ", but must not be negative");
  const auto batch = static_cast<std::int64_t>(prompts.size());
  const PaddedPrompts padded(prompts, model.config());
  Progress progress(prompts.size(), model.config(), options);
  GenerationResult result;
  result.prompt_tokens = padded.tokens;
  ModelCache cache = model.make_cache(batch, options.state_dtype);
  const OwnedTensor next(DType::int64, {batch}, exec.device());

  const Clock::time_point start = Clock::now();
  ForwardInput input;
  input.input_ids = padded.ids;
  if (padded.is_padded) input.attention_mask = padded.mask;
  input.cache = &cache;
  input.logits_to_keep = 1;
  const ForwardOutput prefill = model.forward(exec, input);
  const Tensor logits = prefill.logits->select(1, 0);
  argmax(exec, {logits, next});
  // A GPU computes the token after the next while the host looks at the next.
  const std::int64_t ahead = exec.device() == Device::cpu() ? 0 : 1;
  Readback tokens(exec, next, static_cast<int>(ahead) + 1);
  tokens.post();
  Graph step(exec, [&] {
    model.step(exec, next, cache, logits);
    argmax(exec, {logits, next});
  });
  exec.fence();
  result.prefill_seconds = seconds_since(start);

  const Clock::time_point decode_start = Clock::now();
  std::int64_t posted = 1;
  const auto post_up_to = [&](std::int64_t count) {
    for (; posted < std::min(count, options.max_new_tokens); ++posted) {
      step.run();
      tokens.post();
    }
  };
  bool goes_on = options.max_new_tokens > 0;
  for (std::int64_t count = 1; goes_on; ++count) {
    post_up_to(count + ahead);
    goes_on = progress.take(tokens.take()) && count < options.max_new_tokens;
    if (goes_on) ++result.steps;
  }
  exec.fence();
  result.decode_seconds = seconds_since(decode_start);
  result.ids = std::move(progress).ids();
  return result;
}

}  // namespace ophis
