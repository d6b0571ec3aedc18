// The options that say how tokens are chosen, of every command that generates text.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

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

/// --stop
void add_stop_option(CLI::App& command, std::vector<std::string>& stop);

}  // namespace ophis::cli
