// ophis generate: a model continues texts.
#include "ophis/models/generation.hpp"

#include <fmt/format.h>

#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/generation_flags.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options : GenerationFlags {
  std::vector<std::string> prompts, stop;
  std::string prompt_file;
  std::int64_t batch = 1;
  bool ignore_eos = false;
  bool logprobs = false;
  std::int64_t top_logprobs = 0;
  bool json = false;

  std::vector<TokenIds> prompt_ids(const Tokenizer& tokens, const LanguageModelConfig& config) const {
    std::vector<TokenIds> ids;
    for (const std::string& prompt : prompts) ids.push_back(tokens.encode(prompt));
    if (ids.empty()) ids.push_back(tokens.encode(read_text(prompt_file)));
    for (TokenIds& of_prompt : ids) {
      if (of_prompt.empty()) of_prompt.push_back(static_cast<std::int32_t>(config.bos_token_id));
    }
    return ids;
  }
};

double per_second(std::int64_t count, double seconds) {
  return seconds > 0.0 ? static_cast<double>(count) / seconds : 0.0;
}

/// Of all sequences, after their first tokens.
std::int64_t decoded_tokens(const GenerationResult& result) {
  std::int64_t tokens = 0;
  for (const TokenIds& ids : result.ids) tokens += std::max<std::int64_t>(std::ssize(ids) - 1, 0);
  return tokens;
}

std::string timings_text(const GenerationResult& result, double load_seconds) {
  const std::int64_t decoded = decoded_tokens(result);
  return fmt::format(
      "load {:.3f} s; prefill {} tokens in {:.3f} s ({:.1f} tokens/s); decode {} tokens in {:.3f} s "
      "({:.1f} tokens/s)\n",
      load_seconds, result.prompt_tokens, result.prefill_seconds,
      per_second(result.prompt_tokens, result.prefill_seconds), decoded, result.decode_seconds,
      per_second(decoded, result.decode_seconds));
}

Json timings_json(const GenerationResult& result, double load_seconds) {
  const std::int64_t decoded = decoded_tokens(result);
  return {{"load_seconds", load_seconds},
          {"prefill_seconds", result.prefill_seconds},
          {"decode_seconds", result.decode_seconds},
          {"prefill_tokens", result.prompt_tokens},
          {"decode_tokens", decoded},
          {"prefill_tokens_per_second", per_second(result.prompt_tokens, result.prefill_seconds)},
          {"decode_tokens_per_second", per_second(decoded, result.decode_seconds)}};
}

/// For each token a list of {"id", "logprob"}.
Json top_logprobs_json(const std::vector<std::vector<TokenLogprob>>& top_logprobs) {
  Json places = Json::array();
  for (const std::vector<TokenLogprob>& tokens : top_logprobs) {
    Json place = Json::array();
    for (const TokenLogprob& token : tokens) place.push_back({{"id", token.id}, {"logprob", token.logprob}});
    places.push_back(std::move(place));
  }
  return places;
}

/// What was asked for, and what came of it.
struct Outcome {
  const std::vector<TokenIds>& prompts;
  const Tokenizer& tokenizer;
  const GenerationResult& result;

  const TokenIds& prompt(std::size_t sequence) const {
    return prompts[sequence * prompts.size() / result.ids.size()];
  }
  std::string text(std::size_t sequence) const {
    return tokenizer.decode(prompt(sequence), true) + result.texts[sequence];
  }
  Json to_json(std::size_t sequence) const {
    TokenIds ids = prompt(sequence);
    ids.insert(ids.end(), result.ids[sequence].begin(), result.ids[sequence].end());
    Json json{{"prompt_ids", prompt(sequence)},
              {"ids", ids},
              {"text", text(sequence)},
              {"stopped_by", to_string(result.finished[sequence])}};
    if (!result.logprobs.empty()) json["logprobs"] = result.logprobs[sequence];
    if (!result.top_logprobs.empty()) json["top_logprobs"] = top_logprobs_json(result.top_logprobs[sequence]);
    return json;
  }
};

void print_texts(const Outcome& outcome) {
  for (std::size_t i = 0; i < outcome.result.ids.size(); ++i) {
    TextWriter text;
    text.write(fmt::format("--- {}\n", i + 1));
    text.write(outcome.text(i));
    text.finish();
  }
}

int run(const Options& options) {
  const std::filesystem::path folder = options.model.folder();
  const Tokenizer tokenizer = options.tokenizer.load(options.model);
  ExecContext exec = options.compute.make_context();
  const Stopwatch load_watch;
  const LanguageModel model = options.model.load(options.dtype.value(), exec.device());
  const double load_seconds = load_watch.seconds();

  const std::vector<TokenIds> prompts = options.prompt_ids(tokenizer, model.config());
  const bool streams = !options.json && prompts.size() == 1 && options.batch == 1;
  TextWriter stream;
  GenerationOptions generation = options.options(&tokenizer);
  generation.num_return_sequences = options.batch;
  generation.stop = options.stop;
  generation.logprobs = options.logprobs;
  generation.top_logprobs = options.top_logprobs;
  if (options.ignore_eos) generation.eos_token_ids.emplace();
  if (streams) {
    stream.write(tokenizer.decode(prompts[0], true));
    generation.on_text = [&](std::size_t, std::string_view text) {
      stream.write(text);
      return true;
    };
  }
  const GenerationResult result = generate(model, exec, prompts, generation);
  const Outcome outcome{prompts, tokenizer, result};
  if (!options.json) {
    streams ? stream.finish() : print_texts(outcome);
    fmt::print(stderr, "{}", timings_text(result, load_seconds));
    return exit_ok;
  }
  Json json{{"model", folder.string()},
            {"dtype", to_string(model.dtype())},
            {"device", options.compute.device},
            {"threads", num_threads()}};
  json.update(outcome.to_json(0));
  if (result.ids.size() > 1) {
    for (std::size_t i = 0; i < result.ids.size(); ++i) json["sequences"].push_back(outcome.to_json(i));
  }
  json["timings"] = timings_json(result, load_seconds);
  print_json(json);
  return exit_ok;
}

}  // namespace

Command add_generate(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "generate", "Continue a text: writes prompt and continuation to stdout, timings to stderr");
  CLI::Option_group* const prompt = command->add_option_group("Prompt", "What the model continues");
  prompt->add_option("--prompt", options->prompts, "The text to continue; may be given more than once")
      ->allow_extra_args(false);
  prompt->add_option("--prompt-file", options->prompt_file, "A UTF-8 file with the text; - is stdin");
  prompt->require_option(1);
  options->add_to(*command, "--model", 0);
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after the end-of-text token");
  add_stop_option(*command, options->stop);
  command->add_option("--batch,--num-return-sequences", options->batch, "Continuations of each prompt")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20).description(""))
      ->capture_default_str();
  command->add_flag("--logprobs", options->logprobs,
                    "With --json: the log-probability of each new token, by the model's softmax alone");
  command
      ->add_option(
          "--top-logprobs", options->top_logprobs,
          "With --json: so many of the most probable tokens at the place of each new one; 0 (default): "
          "none")
      ->check(CLI::NonNegativeNumber.description(""));
  add_json_option(*command, options->json);
  command->footer(
      "An empty prompt starts from the model's bos token. Filters work in this order: penalties,\n"
      "temperature, --topk, --topp, --minp; docs/generation.md explains them. Several texts are printed\n"
      "when all are done. Times are in seconds; load counts reading and converting the weights, prefill\n"
      "the prompt up to the first new token, decode the tokens after it.\n"
      "JSON: model, dtype, device, threads, prompt_ids, ids (prompt and continuation), text, stopped_by,\n"
      "logprobs, top_logprobs, timings; of several texts these are of the first, and all are in "
      "sequences.\n\n"
      "Examples:\n"
      "  ophis generate --prompt \"ROMEO:\" --max-new-tokens 100\n"
      "  ophis generate --prompt \"ROMEO:\" --topp 0.9 --temperature 0.7 --repetition-penalty 1.2 --seed 1\n"
      "  ophis generate --model models/mamba-130m-hf --dtype bfloat16 --prompt-file story.txt --json");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
