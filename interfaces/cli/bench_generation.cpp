// ophis bench generation: the time of whole generations, as mamba_ssm's benchmark script tells it.
#include <fmt/format.h>

#include <memory>
#include <random>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/generation_flags.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options : GenerationFlags {
  std::string shape, prompt;
  std::int64_t prompt_length = 100, batch = 1, repeats = 3;
  bool json = false;

  Options() { max_new_tokens = 100; }

  std::string name() const {
    if (!shape.empty()) return shape;
    return model.name.empty() ? model.folder().filename().string() : model.name;
  }
  LanguageModel load(Device device) const {
    if (shape.empty()) return model.load(dtype.value(), device);
    return LanguageModel::random(published_model_config(shape), dtype.value(), 0, device,
                                 model.quantization.value());
  }
};

/// Ids without a pattern, the same in every run.
std::vector<TokenIds> random_prompts(const Options& options, std::int64_t vocab_size) {
  std::mt19937 engine(0);
  std::vector<TokenIds> prompts(static_cast<std::size_t>(options.batch));
  for (TokenIds& prompt : prompts) {
    for (std::int64_t i = 0; i < options.prompt_length; ++i) {
      prompt.push_back(static_cast<std::int32_t>(engine() % static_cast<std::uint64_t>(vocab_size)));
    }
  }
  return prompts;
}

int run(const Options& options) {
  const bool has_prompt = !options.prompt.empty();
  std::optional<Tokenizer> tokenizer;
  if (has_prompt) tokenizer = options.tokenizer.load(options.model);
  ExecContext exec = options.compute.make_context();
  const std::string name = options.name();
  if (!options.json) print(fmt::format("Loading model {}\n", name));
  const LanguageModel model = options.load(exec.device());
  const std::int64_t parameters = model.config().parameter_count();
  if (!options.json) print(fmt::format("Number of parameters: {}\n", parameters));

  const std::vector<TokenIds> prompts =
      has_prompt ? std::vector<TokenIds>{tokenizer->encode(options.prompt)}
                 : random_prompts(options, std::min<std::int64_t>(model.config().vocab_size, 1000));
  GenerationOptions generation = options.options(has_prompt ? &*tokenizer : nullptr);
  generation.eos_token_ids.emplace();
  if (has_prompt) generation.num_return_sequences = options.batch;
  std::vector<std::string> texts = generate(model, exec, prompts, generation).texts;
  for (std::string& text : texts) text.insert(0, options.prompt);
  if (!options.json && has_prompt) print(Json(texts).dump() + "\n");

  const Stopwatch watch;
  for (std::int64_t i = 0; i < options.repeats; ++i) generate(model, exec, prompts, generation);
  const double milliseconds = 1e3 * watch.seconds() / static_cast<double>(options.repeats);
  if (!options.json) {
    print(
        fmt::format("Prompt length: {}, generation length: {}\n", prompts[0].size(), options.max_new_tokens));
    print(fmt::format("{} prompt processing + decoding time: {:.0f}ms\n", name, milliseconds));
    return exit_ok;
  }
  Json json{{"model", name},
            {"dtype", to_string(model.dtype())},
            {"device", options.compute.device},
            {"threads", num_threads()},
            {"parameters", parameters},
            {"batch", options.batch},
            {"prompt_length", prompts[0].size()},
            {"generation_length", options.max_new_tokens},
            {"repeats", options.repeats},
            {"milliseconds", milliseconds}};
  if (has_prompt) json["texts"] = texts;
  print_json(json);
  return exit_ok;
}

void add_count(CLI::App& command, const char* name, std::int64_t& value, const char* description) {
  command.add_option(name, value, description)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30).description(""))
      ->capture_default_str();
}

}  // namespace

Command add_bench_generation(CLI::App& bench) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = bench.add_subcommand(
      "generation", "Time generation from prompt to last token, as mamba_ssm's benchmark script does");
  options->add_to(*command, "--model,--model-name", 1);
  command
      ->add_option("--shape", options->shape,
                   fmt::format("Instead: a published model's shape, with random weights: {}",
                               fmt::join(published_model_names(), ", ")))
      ->check(CLI::IsMember(published_model_names()).description(""))
      ->excludes("--model");
  command->add_option("--prompt", options->prompt, "A text to continue (default: random tokens)");
  add_count(*command, "--promptlen", options->prompt_length, "Random tokens, without --prompt");
  add_count(*command, "--batch", options->batch, "Sequences at once");
  add_count(*command, "--repeats", options->repeats, "The mean of so many is told, after one more");
  add_json_option(*command, options->json);
  command->footer(
      "The flags and the lines printed are those of mamba_ssm's benchmark_generation_mamba_simple.py,\n"
      "whose --topk is 1 unless given: its text is then greedy, whatever --topp and --temperature say.\n"
      "End-of-text tokens do not end a text.\n"
      "JSON: model, dtype, device, threads, parameters, batch, prompt_length, generation_length, repeats,\n"
      "milliseconds, texts (with --prompt).\n\n"
      "Examples:\n"
      "  ophis bench generation --shape mamba-130m --batch 4\n"
      "  ophis bench generation --model models/mamba-2.8b --prompt \"My cat wrote\" --topp 0.9 "
      "--temperature 0.7 --repetition-penalty 1.2");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
