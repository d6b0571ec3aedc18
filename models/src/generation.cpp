#include "ophis/models/generation.hpp"

#include <algorithm>
#include <chrono>

#include "models/src/generation_progress.hpp"
#include "models/src/token_chooser.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/core/graph.hpp"
#include "ophis/core/readback.hpp"
#include "ophis/ops/cross_entropy.hpp"

namespace ophis {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check_ids(const TokenIds& ids, const LanguageModelConfig& config) {
  for (const std::int32_t id : ids) {
    OPHIS_REQUIRE(id >= 0 && id < config.vocab_size, "generate: token ", id, " is outside the vocabulary of ",
                  config.vocab_size);
  }
}

void check(const GenerationOptions& options, std::span<const TokenIds> prompts,
           const LanguageModelConfig& config) {
  OPHIS_REQUIRE(!prompts.empty(), "generate: there is no prompt");
  for (const TokenIds& prompt : prompts) {
    OPHIS_REQUIRE(!prompt.empty(),
                  "generate: a prompt is empty; start with the bos token if there is no text");
    check_ids(prompt, config);
  }
  OPHIS_REQUIRE(options.max_new_tokens >= 0, "generate: max_new_tokens is ", options.max_new_tokens,
                ", but must not be negative");
  check_sampling(options.sampling);
  OPHIS_REQUIRE(options.num_return_sequences >= 1, "generate: num_return_sequences is ",
                options.num_return_sequences, ", but must be at least 1");
  OPHIS_REQUIRE(options.tokenizer || (options.stop.empty() && !options.on_text),
                "generate: stop strings and on_text need a tokenizer");
  for (const std::string& stop : options.stop) {
    OPHIS_REQUIRE(!stop.empty(), "generate: a stop string is empty");
  }
  OPHIS_REQUIRE(options.top_logprobs >= 0 && options.top_logprobs <= config.vocab_size,
                "generate: top_logprobs is ", options.top_logprobs, ", but must be 0 to ", config.vocab_size,
                ", the vocabulary's size");
  const auto batch = static_cast<std::int64_t>(prompts.size());
  if (options.cache) {
    OPHIS_REQUIRE(options.num_return_sequences == 1,
                  "generate: num_return_sequences must be 1 with a cache, got ",
                  options.num_return_sequences);
    OPHIS_REQUIRE(options.cache->batch() == batch, "generate: the cache is for ", options.cache->batch(),
                  " sequences, but there are ", batch, " prompts");
  }
  OPHIS_REQUIRE(options.history.empty() || options.history.size() == prompts.size(), "generate: there are ",
                prompts.size(), " prompts, but histories of ", options.history.size());
  for (const TokenIds& ids : options.history) check_ids(ids, config);
}

/// The prompts in one (batch, seqlen) tensor, padded on the left, with their mask where one is needed.
struct PaddedPrompts {
  explicit PaddedPrompts(std::span<const TokenIds> prompts) {
    std::size_t longest = 0;
    for (const TokenIds& prompt : prompts) {
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

std::vector<ChooserInput> chooser_inputs(std::span<const TokenIds> prompts,
                                         const GenerationOptions& options) {
  const std::int64_t seen = options.cache ? options.cache->seqlen() : 0;
  std::vector<ChooserInput> inputs;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    for (std::int64_t sequence = 0; sequence < options.num_return_sequences; ++sequence) {
      ChooserInput input{sequence, seen + static_cast<std::int64_t>(prompts[i].size()), {prompts[i]}};
      if (!options.history.empty()) input.known.push_back(options.history[i]);
      inputs.push_back(std::move(input));
    }
  }
  return inputs;
}

/// The tokens that are chosen on the device, on their way to the host.
class Choice {
 public:
  /// Choices are made from what `logits` (sequences, vocab) float32 then holds. The host may look at the
  /// choice before the last `ahead` ones.
  Choice(ExecContext& exec, const GenerationOptions& options, const Tensor& logits,
         std::span<const ChooserInput> inputs, int ahead)
      : m_exec(exec),
        m_logits(logits),
        m_next(DType::int64, {static_cast<std::int64_t>(inputs.size())}, exec.device()),
        m_losses(DType::float32, m_next->shape(), exec.device()),
        m_chooser(exec, options.sampling, logits.extent(1), inputs),
        m_tokens(exec, m_next, ahead + 1),
        m_token_losses(exec, m_losses, ahead + 1),
        m_with_losses(options.logprobs) {
    if (options.top_logprobs > 0) m_token_logits.emplace(exec, logits, ahead + 1);
  }

  /// (sequences) int64, the latest choice.
  const Tensor& next() const { return m_next; }

  /// Queues a choice.
  void make() {
    m_chooser.choose(m_exec, m_logits, m_next);
    if (m_with_losses) cross_entropy(m_exec, {m_logits, m_next, no_token, m_losses});
  }
  /// Sends what was chosen to the host.
  void post() {
    m_tokens.post();
    if (m_with_losses) m_token_losses.post();
    if (m_token_logits) m_token_logits->post();
  }
  /// Hands the oldest choice on the way over; returns whether any sequence goes on.
  bool take(GenerationProgress& progress) {
    const Tensor ids = m_tokens.take();
    const Tensor losses = m_with_losses ? m_token_losses.take() : Tensor();
    return progress.take(ids, losses, m_token_logits ? m_token_logits->take() : Tensor());
  }

 private:
  static constexpr std::int64_t no_token = -1;

  ExecContext& m_exec;
  Tensor m_logits;
  OwnedTensor m_next, m_losses;  // (sequences) int64, float32
  TokenChooser m_chooser;
  Readback m_tokens, m_token_losses;
  std::optional<Readback> m_token_logits;
  bool m_with_losses;
};

/// The states and logits behind the prompts, one for each sequence.
struct Start {
  Start(const LanguageModel& model, ExecContext& exec, const PaddedPrompts& prompts,
        const GenerationOptions& options) {
    const std::int64_t batch = prompts.ids->extent(0), copies = options.num_return_sequences;
    if (!options.cache) own_cache.emplace(model.make_cache(batch, options.state_dtype));
    cache = options.cache ? options.cache : &*own_cache;
    ForwardInput input;
    input.input_ids = prompts.ids;
    if (prompts.is_padded) input.attention_mask = prompts.mask;
    input.cache = cache;
    input.logits_to_keep = 1;
    prefill = model.forward(exec, input);
    logits = prefill.logits->select(1, 0);
    if (copies > 1) repeat(model, exec, batch, copies, options);
  }

  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  std::optional<ModelCache> own_cache;
  ModelCache* cache;
  Tensor logits;  // (sequences, vocab) float32

 private:
  void repeat(const LanguageModel& model, ExecContext& exec, std::int64_t batch, std::int64_t copies,
              const GenerationOptions& options) {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < batch * copies; ++i) rows.push_back(i / copies);
    ModelCache repeated = model.make_cache(batch * copies, options.state_dtype);
    repeated.gather_from(exec, *cache, rows);
    repeated_logits = OwnedTensor(DType::float32, {batch * copies, logits.extent(1)}, exec.device());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      copy(exec, logits.select(0, rows[i]), repeated_logits->select(0, static_cast<std::int64_t>(i)));
    }
    exec.fence();  // the single states are given up
    *own_cache = std::move(repeated);
    logits = repeated_logits;
  }

  ForwardOutput prefill;
  OwnedTensor repeated_logits;
};

}  // namespace

GenerationResult generate(const LanguageModel& model, ExecContext& exec, std::span<const TokenIds> prompts,
                          const GenerationOptions& options) {
  check(options, prompts, model.config());
  const PaddedPrompts padded(prompts);
  const std::vector<ChooserInput> inputs = chooser_inputs(prompts, options);
  GenerationProgress progress(inputs.size(), model.config(), options);
  GenerationResult result;
  result.prompt_tokens = padded.tokens;

  const Clock::time_point start = Clock::now();
  // A GPU computes the token after the next while the host looks at the next; but the caller's states are not
  // to run ahead.
  const int ahead = exec.device() == Device::cpu() || options.cache ? 0 : 1;
  const Start begin(model, exec, padded, options);
  Choice choice(exec, options, begin.logits, inputs, ahead);
  const std::int64_t seen = begin.cache->seqlen();
  choice.make();
  choice.post();
  Graph step(exec, [&] {
    model.step(exec, choice.next(), *begin.cache, begin.logits);
    choice.make();
  });
  exec.fence();
  result.prefill_seconds = seconds_since(start);

  const Clock::time_point decode_start = Clock::now();
  std::int64_t posted = 1;
  const auto post_up_to = [&](std::int64_t count) {
    for (; posted < std::min(count, options.max_new_tokens); ++posted) {
      step.run();
      choice.post();
    }
  };
  bool goes_on = options.max_new_tokens > 0;
  for (std::int64_t count = 1; goes_on; ++count) {
    post_up_to(count + ahead);
    goes_on = choice.take(progress) && count < options.max_new_tokens;
    if (goes_on) ++result.steps;
  }
  exec.fence();
  result.decode_seconds = seconds_since(decode_start);
  begin.cache->set_seqlen(seen + posted - 1);
  std::move(progress).move_to(result);
  return result;
}

}  // namespace ophis
