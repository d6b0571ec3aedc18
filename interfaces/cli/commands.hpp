// The subcommands of `ophis`, each in the file of its name.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace ophis::cli {

/// A subcommand that is known to the parser, and what it does once its options are parsed; run() returns the
/// program's exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_generate(CLI::App& program);
Command add_chat(CLI::App& program);
Command add_logits(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_detokenize(CLI::App& program);
Command add_perplexity(CLI::App& program);
Command add_quantize(CLI::App& program);
Command add_info(CLI::App& program);
Command add_check(CLI::App& program);
Command add_download(CLI::App& program);
// Below `ophis bench`.
Command add_bench_ops(CLI::App& bench);
Command add_bench_model(CLI::App& bench);
Command add_bench_generation(CLI::App& bench);

}  // namespace ophis::cli
