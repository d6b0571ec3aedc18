// The program `ophis`: parses the command line, runs one subcommand, and turns what happened into an exit
// code.
#include <algorithm>
#include <new>
#include <string_view>
#include <vector>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/core/error.hpp"

namespace {

using namespace ophis::cli;

/// Whether errors are wanted as JSON too; asked before the command line is known to be right.
bool wants_json(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](const char* word) { return std::string_view(word) == "--json"; });
}

int run_program(CLI::App& program, int argc, char** argv) {
  CLI::App* const bench = program.add_subcommand("bench", "Measure speed: ops, model, generation");
  bench->require_subcommand(1);
  const std::vector<Command> commands{
      add_generate(program),       add_chat(program),       add_logits(program),   add_tokenize(program),
      add_detokenize(program),     add_perplexity(program), add_quantize(program), add_info(program),
      add_check(program),          add_download(program),   add_bench_ops(*bench), add_bench_model(*bench),
      add_bench_generation(*bench)};
  program.parse(argc, argv);
  const auto chosen = std::find_if(commands.begin(), commands.end(),
                                   [](const Command& command) { return command.app->parsed(); });
  return chosen->run();
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = wants_json(argc, argv);
  CLI::App program("Ophis: state-space language models (Mamba, Mamba-2) on any processor", "ophis");
  program.set_version_flag("--version", "ophis " OPHIS_VERSION);
  program.require_subcommand(1);
  program.get_formatter()->column_width(28);
  program.footer(
      "`ophis COMMAND --help` explains a command, with examples.\n\n"
      "Exit codes: 0 success; 1 the command failed; 2 the command line is wrong. Errors go to stderr, and "
      "with\n"
      "--json also to stdout as {\"error\": {\"code\", \"message\"}}.\n\n"
      "Environment: OPHIS_MODELS (folder of the bundled models), OMP_NUM_THREADS (CPU threads),\n"
      "OPHIS_VERBOSE=1 (prints which implementation of an op ran); of the Hugging Face hub see `ophis "
      "download "
      "--help`.\n\n"
      "Start here:\n"
      "  ophis generate --prompt \"ROMEO:\"");
  try {
    return run_program(program, argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return program.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    print_error("usage", std::string(error.what()) + " (--help explains)", json);
    return exit_usage;
  } catch (const ophis::Error& error) {
    print_error(to_string(error.code()), error.what(), json);
  } catch (const std::bad_alloc&) {
    print_error(to_string(ophis::ErrorCode::out_of_memory), "there is not enough memory", json);
  } catch (const std::exception& error) {
    print_error(to_string(ophis::ErrorCode::internal), error.what(), json);
  }
  return exit_failed;
}
