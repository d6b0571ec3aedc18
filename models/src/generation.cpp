#include "ophis/models/generation.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "models/src/stop_strings.hpp"
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

/// One sequence: what it has said, and whether it goes on.
class Sequence {
 public:
  Sequence(std::size_t index, const GenerationOptions& options, std::span<const std::int64_t> eos)
      : m_index(index), m_options(options), m_eos(eos), m_stop(options.stop) {
    if (options.tokenizer) m_decoder.emplace(*options.tokenizer, true);
  }

  bool goes_on() const noexcept { return !m_ended; }

  /// Returns whether generation, of all sequences, goes on.
  bool take(std::int32_t id, std::optional<float> logprob) {
    ids.push_back(id);
    if (logprob) logprobs.push_back(*logprob);
    const bool wanted = !m_options.on_token || m_options.on_token(m_index, id);
    const bool text_wanted = !m_decoder || tell(m_stop.push(m_decoder->push(id)));
    if (!wanted || !text_wanted) return cancel();
    const bool is_last = static_cast<std::int64_t>(ids.size()) == m_options.max_new_tokens;
    if (m_stop.found())
      end(FinishReason::stop);
    else if (std::find(m_eos.begin(), m_eos.end(), id) != m_eos.end())
      end(FinishReason::eos);
    else if (is_last)
      end(FinishReason::length);
    return !m_ended || m_stop.found() || !m_decoder || tell(rest()) || cancel();
  }
  bool cancel() {
    end(FinishReason::cancelled);
    return false;
  }

  TokenIds ids;
  std::vector<float> logprobs;
  std::string text;
  FinishReason reason = FinishReason::length;

 private:
  /// What the decoder and the stop strings have held back.
  std::string rest() {
    std::string passed = m_stop.push(m_decoder->flush());
    return passed += m_stop.flush();
  }
  bool tell(const std::string& piece) {
    text += piece;
    return piece.empty() || !m_options.on_text || m_options.on_text(m_index, piece);
  }
  void end(FinishReason why) {
    m_ended = true;
    reason = why;
  }

  std::size_t m_index;
  const GenerationOptions& m_options;
  std::span<const std::int64_t> m_eos;
  StopStrings m_stop;
  std::optional<StreamDecoder> m_decoder;
  bool m_ended = false;
};

/// All sequences.
class Progress {
 public:
  Progress(std::size_t batch, const LanguageModelConfig& config, const GenerationOptions& options)
      : m_eos(options.eos_token_ids.value_or(config.eos_token_ids)) {
    m_sequences.reserve(batch);
    for (std::size_t i = 0; i < batch; ++i) m_sequences.emplace_back(i, options, m_eos);
  }

  /// Takes the next token of every sequence that still runs, with its loss if there is one; returns whether
  /// any goes on.
  bool take(const Tensor& next, const Tensor& losses) {
    bool any = false;
    for (std::size_t i = 0; i < m_sequences.size(); ++i) {
      Sequence& sequence = m_sequences[i];
      if (!sequence.goes_on()) continue;
      const auto id = static_cast<std::int32_t>(next.data<std::int64_t>()[i]);
      const auto logprob = losses ? std::optional(-losses.data<float>()[i]) : std::nullopt;
      if (!sequence.take(id, logprob)) {
        for (Sequence& other : m_sequences) {
          if (other.goes_on()) other.cancel();
        }
        return false;
      }
      any = any || sequence.goes_on();
    }
    return any;
  }

  void move_to(GenerationResult& result, const GenerationOptions& options) {
    for (Sequence& sequence : m_sequences) {
      result.ids.push_back(std::move(sequence.ids));
      result.finished.push_back(sequence.reason);
      if (options.tokenizer) result.texts.push_back(std::move(sequence.text));
      if (options.logprobs) result.logprobs.push_back(std::move(sequence.logprobs));
    }
  }

 private:
  std::vector<std::int64_t> m_eos;
  std::vector<Sequence> m_sequences;
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

GenerationResult generate(const LanguageModel& model, ExecContext& exec, std::span<const TokenIds> prompts,
                          const GenerationOptions& options) {
  check(options, prompts, model.config());
  const PaddedPrompts padded(prompts);
  const std::vector<ChooserInput> inputs = chooser_inputs(prompts, options);
  const auto batch = static_cast<std::int64_t>(inputs.size());
  Progress progress(inputs.size(), model.config(), options);
  GenerationResult result;
  result.prompt_tokens = padded.tokens;
  const OwnedTensor next(DType::int64, {batch}, exec.device());
  const OwnedTensor losses(DType::float32, {batch}, exec.device());

  const Clock::time_point start = Clock::now();
  const TokenChooser chooser(exec, options.sampling, model.config().vocab_size, inputs);
  const Start begin(model, exec, padded, options);
  const std::int64_t seen = begin.cache->seqlen();
  const auto choose = [&] {
    chooser.choose(exec, begin.logits, next);
    if (options.logprobs) cross_entropy(exec, {begin.logits, next, -1, losses});
  };
  choose();
  // A GPU computes the token after the next while the host looks at the next; but the caller's states are not
  // to run ahead.
  const std::int64_t ahead = exec.device() == Device::cpu() || options.cache ? 0 : 1;
  Readback tokens(exec, next, static_cast<int>(ahead) + 1);
  Readback token_losses(exec, losses, static_cast<int>(ahead) + 1);
  const auto post = [&] {
    tokens.post();
    if (options.logprobs) token_losses.post();
  };
  post();
  Graph step(exec, [&] {
    model.step(exec, next, *begin.cache, begin.logits);
    choose();
  });
  exec.fence();
  result.prefill_seconds = seconds_since(start);

  const Clock::time_point decode_start = Clock::now();
  std::int64_t posted = 1;
  const auto post_up_to = [&](std::int64_t count) {
    for (; posted < std::min(count, options.max_new_tokens); ++posted) {
      step.run();
      post();
    }
  };
  bool goes_on = options.max_new_tokens > 0;
  for (std::int64_t count = 1; goes_on; ++count) {
    post_up_to(count + ahead);
    const Tensor ids = tokens.take();
    goes_on = progress.take(ids, options.logprobs ? token_losses.take() : Tensor()) &&
              count < options.max_new_tokens;
    if (goes_on) ++result.steps;
  }
  exec.fence();
  result.decode_seconds = seconds_since(decode_start);
  begin.cache->set_seqlen(seen + posted - 1);
  progress.move_to(result, options);
  return result;
}

}  // namespace ophis
