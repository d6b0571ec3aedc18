// The options of every command that generates text.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "interfaces/cli/options.hpp"
#include "ophis/models/generation.hpp"

namespace ophis::cli {

/// --temperature, --topk, --topp, --minp, --repetition-penalty, --presence-penalty, --frequency-penalty and
/// --seed.
struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p;
  std::optional<std::int64_t> top_k;
  SamplingOptions options;

  void add_to(CLI::App& command);
  /// Without --temperature text is greedy, unless a filter asks for sampling.
  SamplingOptions value() const;
};

/// What generates, where, and how tokens are chosen.
struct GenerationFlags {
  ModelOption model;
  TokenizerOption tokenizer;
  DTypeOption dtype;
  StateDTypeOption state_dtype;
  ComputeOptions compute;
  SamplingFlags sampling;
  std::int64_t max_new_tokens = 128;

  /// `model_flag`: how --model is called. `fewest_tokens`: what --max-new-tokens may be at least.
  void add_to(CLI::App& command, const char* model_flag, std::int64_t fewest_tokens);
  /// Without a tokenizer there are no texts.
  GenerationOptions options(const Tokenizer* tokenizer) const;
};

/// --stop
void add_stop_option(CLI::App& command, std::vector<std::string>& stop);

}  // namespace ophis::cli
