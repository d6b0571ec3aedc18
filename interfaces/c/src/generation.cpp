#include "ophis/models/generation.hpp"

#include <algorithm>

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"

using namespace ophis::c;

namespace ophis::c {
namespace {

std::vector<TokenIds> to_prompts(const std::int32_t* const* prompts, const std::int64_t* lengths,
                                 std::int64_t count) {
  OPHIS_REQUIRE(count >= 1, "num_prompts is ", count, ", but must be at least 1");
  require(prompts, "prompts");
  require(lengths, "prompt_lengths");
  std::vector<TokenIds> result;
  for (std::int64_t i = 0; i < count; ++i) {
    OPHIS_REQUIRE(lengths[i] >= 1, "prompt_lengths[", i, "] is ", lengths[i], ", but must be at least 1");
    OPHIS_REQUIRE(prompts[i] != nullptr, "prompts[", i, "] is NULL");
    result.emplace_back(prompts[i], prompts[i] + lengths[i]);
  }
  return result;
}

GenerationOptions to_options(const ophis_generation_options& from) {
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
  return options;
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
    defaults.max_new_tokens = ophis::GenerationOptions{}.max_new_tokens;
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
    const std::vector<ophis::TokenIds> texts = to_prompts(prompts, prompt_lengths, num_prompts);
    const ophis::GenerationOptions how = to_options(read_sized(require(options, "options")));
    if (how.max_new_tokens > 0) require(ids, "ids");
    require(num_ids, "num_ids");
    if (stats) check_size(stats->size);
    const ophis::GenerationResult result = ophis::generate(which, exec, texts, how);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::copy(result.ids[i].begin(), result.ids[i].end(),
                ids + static_cast<std::ptrdiff_t>(i) * how.max_new_tokens);
      num_ids[i] = static_cast<int64_t>(result.ids[i].size());
    }
    if (stats) write_stats(result, *stats);
  });
}
