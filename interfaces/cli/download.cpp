// ophis download: brings a model from the hub into the local cache.
#include <fmt/format.h>

#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options {
  std::string model;
  ResolveOptions resolve;
  bool json = false;
};

int run(const Options& options) {
  if (!is_hub_id(options.model)) {
    fail(ErrorCode::invalid_argument, "'", options.model,
         "' is not the id of a model on the hub: OWNER/NAME or OWNER/NAME@REVISION");
  }
  const std::string folder = resolve_with_progress(options.model, options.resolve).string();
  if (options.json) {
    print_json({{"model", options.model}, {"folder", folder}});
  } else {
    print(fmt::format("{}\n", folder));
  }
  return exit_ok;
}

}  // namespace

Command add_download(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  options->resolve.refresh = true;
  CLI::App* const command =
      program.add_subcommand("download", "Download a model of the Hugging Face hub, or bring it up to date");
  command->add_option("model", options->model, "OWNER/NAME or OWNER/NAME@REVISION")->required();
  command->add_option("--revision", options->resolve.revision, "Branch, tag or commit (default: main)");
  add_json_option(*command, options->json);
  command->footer(
      "Prints the folder with the model's files, which is in the cache that Hugging Face's programs use. The "
      "other\n"
      "commands download a model by themselves when it is not there, and then take what is there; this one "
      "asks\n"
      "the hub whether there is something newer. JSON: model, folder.\n\n"
      "Environment: HF_HOME or HF_HUB_CACHE (where the cache is), HF_TOKEN (for private and gated models),\n"
      "HF_ENDPOINT (another server), HF_HUB_OFFLINE=1 (never use the network), HTTPS_PROXY.\n\n"
      "Examples:\n"
      "  ophis download state-spaces/mamba-130m-hf\n"
      "  ophis generate --model state-spaces/mamba-130m-hf --prompt \"Mamba is\"");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
