// ophis generate: a model continues a text.
#include <fmt/format.h>

#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/models/generation.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  TokenizerOption tokenizer;
  DTypeOption dtype;
  StateDTypeOption state_dtype;
  ComputeOptions compute;
  std::string prompt, prompt_file;
  std::int64_t max_new_tokens = 128;
  double temperature = 0.0;
  bool ignore_eos = false;
  bool json = false;

  TokenIds prompt_ids(const Tokenizer& tokens, const LanguageModelConfig& config) const {
    TokenIds ids = tokens.encode(prompt_file.empty() ? prompt : read_text(prompt_file));
    if (ids.empty()) ids.push_back(static_cast<std::int32_t>(config.bos_token_id));
    return ids;
  }
};

double per_second(std::int64_t count, double seconds) {
  return seconds > 0.0 ? static_cast<double>(count) / seconds : 0.0;
}

std::string timings_text(const GenerationResult& result, double load_seconds) {
  return fmt::format(
      "load {:.3f} s; prefill {} tokens in {:.3f} s ({:.1f} tokens/s); decode {} tokens in {:.3f} s "
      "({:.1f} tokens/s)\n",
      load_seconds, result.prompt_tokens, result.prefill_seconds,
      per_second(result.prompt_tokens, result.prefill_seconds), result.steps, result.decode_seconds,
      per_second(result.steps, result.decode_seconds));
}

Json timings_json(const GenerationResult& result, double load_seconds) {
  return {{"load_seconds", load_seconds},
          {"prefill_seconds", result.prefill_seconds},
          {"decode_seconds", result.decode_seconds},
          {"prefill_tokens", result.prompt_tokens},
          {"decode_tokens", result.steps},
          {"prefill_tokens_per_second", per_second(result.prompt_tokens, result.prefill_seconds)},
          {"decode_tokens_per_second", per_second(result.steps, result.decode_seconds)}};
}

/// Text to stdout as it comes; the output ends with a line break.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : m_decoder(tokenizer, true) {}

  void push(std::int32_t id) { write(m_decoder.push(id)); }
  void finish() {
    write(m_decoder.flush());
    if (m_last != '\n') write("\n");
  }

 private:
  void write(std::string_view text) {
    if (text.empty()) return;
    m_last = text.back();
    print(text);
  }

  StreamDecoder m_decoder;
  char m_last = '\n';
};

int run(const Options& options) {
  if (options.temperature != 0.0) {
    fail(ErrorCode::unsupported, "--temperature ", options.temperature,
         ": sampling is not supported yet; only 0, which takes the most probable token each time");
  }
  const std::filesystem::path folder = options.model.folder();
  const Tokenizer tokenizer = options.tokenizer.load(options.model);
  ExecContext exec = options.compute.make_context();
  const Stopwatch load_watch;
  const LanguageModel model = options.model.load(options.dtype.value(), exec.device());
  const double load_seconds = load_watch.seconds();

  const TokenIds prompt = options.prompt_ids(tokenizer, model.config());
  TextStream stream(tokenizer);
  GenerationOptions generation;
  generation.max_new_tokens = options.max_new_tokens;
  generation.state_dtype = options.state_dtype.value();
  if (options.ignore_eos) generation.eos_token_ids.emplace();
  if (!options.json) {
    for (const std::int32_t id : prompt) stream.push(id);
    generation.on_token = [&](std::size_t, std::int32_t id) {
      stream.push(id);
      return true;
    };
  }
  const GenerationResult result = generate(model, exec, std::span(&prompt, 1), generation);
  if (!options.json) {
    stream.finish();
    fmt::print(stderr, "{}", timings_text(result, load_seconds));
    return exit_ok;
  }
  TokenIds ids = prompt;
  ids.insert(ids.end(), result.ids[0].begin(), result.ids[0].end());
  const bool at_eos = static_cast<std::int64_t>(result.ids[0].size()) < options.max_new_tokens;
  print_json({{"model", folder.string()},
              {"dtype", to_string(model.dtype())},
              {"device", options.compute.device},
              {"threads", num_threads()},
              {"prompt_ids", prompt},
              {"ids", ids},
              {"text", tokenizer.decode(ids, true)},
              {"stopped_by", at_eos ? "eos" : "length"},
              {"timings", timings_json(result, load_seconds)}});
  return exit_ok;
}

}  // namespace

Command add_generate(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "generate", "Continue a text: writes prompt and continuation to stdout, timings to stderr");
  options->model.add_to(*command);
  options->tokenizer.add_to(*command);
  CLI::Option_group* const prompt = command->add_option_group("Prompt", "What the model continues");
  prompt->add_option("--prompt", options->prompt, "The text to continue");
  prompt->add_option("--prompt-file", options->prompt_file, "A UTF-8 file with the text; - is stdin");
  prompt->require_option(1);
  command
      ->add_option("--max-new-tokens", options->max_new_tokens,
                   "Stop after so many tokens, unless the model's end-of-text token comes first")
      ->check(CLI::NonNegativeNumber.description(""))
      ->capture_default_str();
  command
      ->add_option("--temperature", options->temperature,
                   "0: the most probable token each time (greedy). Sampling is not supported yet")
      ->capture_default_str();
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after the end-of-text token");
  options->dtype.add_to(*command);
  options->state_dtype.add_to(*command);
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "An empty prompt starts from the model's bos token. Times are in seconds; load counts reading and\n"
      "converting the weights, prefill the prompt up to the first new token, decode the tokens after it.\n"
      "JSON: model, dtype, device, threads, prompt_ids, ids (prompt and continuation), text, stopped_by, "
      "timings.\n\n"
      "Examples:\n"
      "  ophis generate --prompt \"ROMEO:\" --max-new-tokens 100\n"
      "  ophis generate --model models/mamba-130m-hf --dtype bfloat16 --prompt-file story.txt --json");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
