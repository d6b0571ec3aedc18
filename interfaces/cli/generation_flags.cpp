#include "interfaces/cli/generation_flags.hpp"

#include <cmath>
#include <cstdlib>

namespace ophis::cli {
namespace {

/// A check that a number is what `takes` says, in words `wanted`.
template <class Takes>
CLI::Validator number(Takes takes, const std::string& wanted) {
  return CLI::Validator(
      [takes, wanted](std::string& text) -> std::string {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool is_number = !text.empty() && end == text.c_str() + text.size() && std::fabs(value) <= 1e30;
        return is_number && takes(value) ? std::string() : "'" + text + "' is not " + wanted;
      },
      "");
}

}  // namespace

void SamplingFlags::add_to(CLI::App& command) {
  const auto above_0 = [](double x) { return x > 0.0; };
  const auto from_0 = [](double x) { return x >= 0.0; };
  const auto any = [](double) { return true; };
  command
      .add_option("--temperature", temperature,
                  "Logits are divided by it; 0: the most probable token each time (greedy). Default: 0, or 1 "
                  "with --topk, --topp or --minp")
      ->check(number(from_0, "a number from 0"));
  command
      .add_option("--topk,--top-k", top_k, "Draw among so many of the most probable tokens; 0 (default): all")
      ->check(number(from_0, "a number from 0"));
  command
      .add_option(
          "--topp,--top-p", top_p,
          "Draw among the most probable tokens that together reach this probability; 1 (default): all")
      ->check(number([](double x) { return x > 0.0 && x <= 1.0; }, "a number above 0 and at most 1 (all)"));
  command
      .add_option("--minp,--min-p", min_p,
                  "Draw among tokens at least so probable as a part of the most probable one; 0 (default): "
                  "all")
      ->check(number([](double x) { return x >= 0.0 && x <= 1.0; }, "a number from 0 (all) to 1"));
  command
      .add_option("--repetition-penalty", options.repetition_penalty,
                  "Makes tokens of the prompt and the new text less probable, above 1; 1: none")
      ->check(number(above_0, "a number above 0"))
      ->capture_default_str();
  command
      .add_option("--presence-penalty", options.presence_penalty,
                  "Taken from the logits of tokens in the new text; 0: none")
      ->check(number(any, "a number"))
      ->capture_default_str();
  command
      .add_option("--frequency-penalty", options.frequency_penalty,
                  "The same, for each time that they are in it; 0: none")
      ->check(number(any, "a number"))
      ->capture_default_str();
  command
      .add_option("--seed", options.seed,
                  "Of the random numbers: the same seed gives the same text, on every device")
      ->check(number(from_0, "a number from 0"))
      ->capture_default_str();
}

SamplingOptions SamplingFlags::value() const {
  SamplingOptions result = options;
  const bool filters = top_k.value_or(0) > 0 || top_p || min_p;
  result.temperature = temperature.value_or(filters ? 1.0 : 0.0);
  result.top_k = top_k.value_or(result.top_k);
  result.top_p = top_p.value_or(result.top_p);
  result.min_p = min_p.value_or(result.min_p);
  return result;
}

void GenerationFlags::add_to(CLI::App& command, const char* model_flag, std::int64_t fewest_tokens) {
  model.add_to(command, model_flag);
  tokenizer.add_to(command);
  command
      .add_option("--max-new-tokens,--genlen", max_new_tokens,
                  "New tokens of each text, unless an end-of-text token or a stop string comes first")
      ->check(CLI::Range(fewest_tokens, std::int64_t{1} << 30).description(""))
      ->capture_default_str();
  sampling.add_to(command);
  model.add_quantization_to(command);
  dtype.add_to(command);
  state_dtype.add_to(command);
  compute.add_to(command);
}

GenerationOptions GenerationFlags::options(const Tokenizer* tokens) const {
  GenerationOptions options;
  options.max_new_tokens = max_new_tokens;
  options.state_dtype = state_dtype.value();
  options.sampling = sampling.value();
  options.tokenizer = tokens;
  return options;
}

void add_stop_option(CLI::App& command, std::vector<std::string>& stop) {
  command
      .add_option("--stop", stop,
                  "End where this text comes up, and leave it out; may be given more than once")
      ->allow_extra_args(false)
      ->check(CLI::Validator(
          [](std::string& text) { return text.empty() ? std::string("it is empty") : std::string(); }, ""));
}

}  // namespace ophis::cli
