#include "ophis/models/generation.hpp"

#include <algorithm>

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"

using namespace ophis::c;

namespace ophis::c {
namespace {

/// `count` lists of ids; `shortest` is the least length that one may have.
std::vector<TokenIds> to_lists(const char* name, const std::int32_t* const* lists, const char* lengths_name,
                               const std::int64_t* lengths, std::int64_t count, std::int64_t shortest) {
  require(lists, name);
  require(lengths, lengths_name);
  std::vector<TokenIds> result;
  for (std::int64_t i = 0; i < count; ++i) {
    OPHIS_REQUIRE(lengths[i] >= shortest, lengths_name, "[", i, "] is ", lengths[i],
                  ", but must be at least ", shortest);
    OPHIS_REQUIRE(lists[i] != nullptr || lengths[i] == 0, name, "[", i, "] is NULL");
    if (lengths[i] == 0)
      result.emplace_back();
    else
      result.emplace_back(lists[i], lists[i] + lengths[i]);
  }
  return result;
}

/// Zeros stand for the defaults, as in an older caller's struct.
SamplingOptions to_sampling(const ophis_generation_options& from) {
  SamplingOptions options;
  options.temperature = from.temperature;
  options.top_k = from.top_k;
  if (from.top_p != 0.0) options.top_p = from.top_p;
  options.min_p = from.min_p;
  if (from.repetition_penalty != 0.0) options.repetition_penalty = from.repetition_penalty;
  options.presence_penalty = from.presence_penalty;
  options.frequency_penalty = from.frequency_penalty;
  options.seed = from.seed;
  return options;
}

void set_text_options(const ophis_generation_options& from, GenerationOptions& options) {
  if (from.tokenizer) options.tokenizer = &from.tokenizer->tokenizer;
  OPHIS_REQUIRE(from.num_stop >= 0, "num_stop is ", from.num_stop, ", but must not be negative");
  if (from.num_stop > 0) require(from.stop, "stop");
  for (std::int64_t i = 0; i < from.num_stop; ++i) {
    OPHIS_REQUIRE(from.stop[i] != nullptr, "stop[", i, "] is NULL");
    options.stop.emplace_back(from.stop[i]);
  }
  if (from.on_text) {
    options.on_text = [from](std::size_t sequence, std::string_view text) {
      return from.on_text(from.user_data, static_cast<std::int64_t>(sequence), text.data(), text.size()) != 0;
    };
  }
}

GenerationOptions to_options(const ophis_generation_options& from, std::int64_t num_prompts) {
  GenerationOptions options;
  options.max_new_tokens = from.max_new_tokens;
  OPHIS_REQUIRE(from.num_eos_token_ids >= 0, "num_eos_token_ids is ", from.num_eos_token_ids,
                ", but must not be negative");
  bool ignore_eos = false;
  convert_named("ignore_eos", from.ignore_eos, ignore_eos);
  if (ignore_eos) {
    options.eos_token_ids.emplace();
  } else if (from.num_eos_token_ids > 0) {
    require(from.eos_token_ids, "eos_token_ids");
    options.eos_token_ids.emplace(from.eos_token_ids, from.eos_token_ids + from.num_eos_token_ids);
  }
  if (from.state_dtype.bits != 0) options.state_dtype = to_dtype(from.state_dtype);
  if (from.on_token) {
    options.on_token = [from](std::size_t sequence, std::int32_t id) {
      return from.on_token(from.user_data, static_cast<std::int64_t>(sequence), id) != 0;
    };
  }
  options.sampling = to_sampling(from);
  if (from.num_return_sequences != 0) options.num_return_sequences = from.num_return_sequences;
  set_text_options(from, options);
  options.logprobs = from.logprobs != nullptr;
  options.top_logprobs = from.top_logprobs;
  if (from.top_logprobs != 0) {
    require(from.top_logprob_ids, "top_logprob_ids");
    require(from.top_logprob_values, "top_logprob_values");
  }
  if (from.cache) options.cache = &from.cache->cache;
  if (from.history) {
    options.history =
        to_lists("history", from.history, "history_lengths", from.history_lengths, num_prompts, 0);
  }
  return options;
}

/// Rows of `width` for each sequence, of which only the first values are written.
template <class Value>
void write_rows(const std::vector<std::vector<Value>>& rows, std::int64_t width, Value* to) {
  for (const std::vector<Value>& row : rows) {
    std::copy(row.begin(), row.end(), to);
    to += width;
  }
}

void write_top_logprobs(const GenerationResult& result, std::int64_t width,
                        const ophis_generation_options& to) {
  for (std::size_t i = 0; i < result.top_logprobs.size(); ++i) {
    std::int64_t at = static_cast<std::int64_t>(i) * width * to.top_logprobs;
    for (const std::vector<TokenLogprob>& tokens : result.top_logprobs[i]) {
      for (const TokenLogprob& token : tokens) {
        to.top_logprob_ids[at] = token.id;
        to.top_logprob_values[at++] = token.logprob;
      }
    }
  }
}

void write_stats(const GenerationResult& result, ophis_generation_stats& stats) {
  ophis_generation_stats values{};
  values.prompt_tokens = result.prompt_tokens;
  values.steps = result.steps;
  values.prefill_seconds = result.prefill_seconds;
  values.decode_seconds = result.decode_seconds;
  write_sized(values, stats, stats.size);
}

}  // namespace
}  // namespace ophis::c

ophis_status ophis_generation_options_init(ophis_generation_options* options, size_t size) {
  return guarded(__func__, [&] {
    ophis_generation_options defaults{};
    const ophis::GenerationOptions from;
    defaults.max_new_tokens = from.max_new_tokens;
    defaults.top_p = from.sampling.top_p;
    defaults.repetition_penalty = from.sampling.repetition_penalty;
    defaults.num_return_sequences = from.num_return_sequences;
    write_sized(defaults, require(options, "options"), size);
  });
}

ophis_status ophis_generate(const ophis_model* model, ophis_context* context, const int32_t* const* prompts,
                            const int64_t* prompt_lengths, int64_t num_prompts,
                            const ophis_generation_options* options, int32_t* ids, int64_t* num_ids,
                            ophis_generation_stats* stats) {
  return guarded(__func__, [&] {
    const ophis::LanguageModel& which = require(model, "model").model;
    ophis::ExecContext& exec = require(context, "context").exec;
    OPHIS_REQUIRE(num_prompts >= 1, "num_prompts is ", num_prompts, ", but must be at least 1");
    const std::vector<ophis::TokenIds> texts =
        to_lists("prompts", prompts, "prompt_lengths", prompt_lengths, num_prompts, 1);
    const ophis_generation_options given = read_sized(require(options, "options"));
    const ophis::GenerationOptions how = to_options(given, num_prompts);
    if (how.max_new_tokens > 0) require(ids, "ids");
    require(num_ids, "num_ids");
    if (stats) check_size(stats->size);
    const ophis::GenerationResult result = ophis::generate(which, exec, texts, how);
    write_rows(result.ids, how.max_new_tokens, ids);
    if (given.logprobs) write_rows(result.logprobs, how.max_new_tokens, given.logprobs);
    write_top_logprobs(result, how.max_new_tokens, given);
    for (std::size_t i = 0; i < result.ids.size(); ++i) {
      num_ids[i] = static_cast<int64_t>(result.ids[i].size());
      if (given.finish_reasons) given.finish_reasons[i] = static_cast<std::int32_t>(result.finished[i]);
    }
    if (stats) write_stats(result, *stats);
  });
}
