// ophis quantize: a model with its weights as small integers.
#include <fmt/format.h>

#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  QuantizationOption quantization{"int4"};
  std::string out, calibration;
  std::int64_t calibration_tokens = QuantizeOptions{}.calibration_tokens;
  int threads = 0;
  bool json = false;
};

std::uint64_t weight_bytes(const std::filesystem::path& folder) {
  return Checkpoint::open(folder).total_bytes();
}

int run(const Options& options) {
  initialize({options.threads});
  const std::filesystem::path folder = options.model.folder();
  const std::string text = options.calibration.empty() ? "" : read_text(options.calibration);
  OPHIS_REQUIRE(options.calibration.empty() || !text.empty(), "--calibration: ", options.calibration,
                " is empty");
  QuantizeOptions quantize;
  quantize.what = options.quantization.value();
  quantize.calibration_text = text;
  quantize.calibration_tokens = options.calibration_tokens;
  ProgressLine line;
  quantize.progress = [&](std::uint64_t done, std::uint64_t total) {
    line.show("quantizing", done, total, format_bytes(done));
  };
  const Stopwatch watch;
  quantize_model(folder, options.out, quantize);
  line.clear();
  const std::uint64_t before = weight_bytes(folder), after = weight_bytes(options.out);
  if (options.json) {
    print_json({{"model", folder.string()},
                {"out", options.out},
                {"format", options.quantization.format},
                {"bytes_before", before},
                {"bytes_after", after},
                {"seconds", watch.seconds()}});
  } else {
    print(fmt::format("{}: {} instead of {}\n", options.out, format_bytes(after), format_bytes(before)));
  }
  return exit_ok;
}

}  // namespace

Command add_quantize(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command =
      program.add_subcommand("quantize", "Write a model with its weights as 8-bit or 4-bit integers");
  options->model.add_to(*command);
  command->add_option("--out", options->out, "The folder to write, which must not exist")->required();
  options->quantization.add_to(*command, "--format", "Of the blocks' projections");
  command->add_option("--calibration", options->calibration,
                      "A UTF-8 text like those the model will see (- is stdin): weights are then rounded so "
                      "that the outputs on it change least");
  command
      ->add_option("--calibration-tokens", options->calibration_tokens,
                   "At most so many tokens of it are used")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30).description(""))
      ->capture_default_str();
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer(
      "The new folder holds config.json, model.safetensors (compressed-tensors' pack-quantized layout) and\n"
      "copies of the other files; every command takes it as --model. docs/quantization.md has the layout\n"
      "and what is lost. JSON: model, out, format, bytes_before, bytes_after, seconds.\n\n"
      "Examples:\n"
      "  ophis quantize --model mamba2-tiny --out mamba2-tiny-int4 --calibration train.txt\n"
      "  ophis quantize --model models/mamba-2.8b-hf --out models/mamba-2.8b-int8 --format int8 --group-size "
      "0");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
