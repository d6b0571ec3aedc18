// ophis bench ops and ophis bench model: speed beside what this machine can do at best.
#include <fmt/format.h>

#include <memory>

#include "bench/model/model_bench.hpp"
#include "bench/support/bench.hpp"
#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct OpsOptions {
  ComputeOptions compute;
  bench::Options bench;
  std::vector<std::string> dtypes;
  bool json = false;
};

struct ModelOptions {
  ComputeOptions compute;
  ModelOption model;
  DTypeOption dtype;
  StateDTypeOption state_dtype;
  std::string shape = "mamba-130m";
  bench::ModelOptions bench;
  bool json = false;

  LanguageModel load(Device device) const {
    if (!model.name.empty()) return model.load(dtype.value(), device);
    return LanguageModel::random(published_model_config(shape), dtype.value(), 0, device,
                                 model.quantization.value());
  }
};

int run_ops(const OpsOptions& options) {
  ExecContext exec = options.compute.make_context();
  bench::Options bench = options.bench;
  if (!options.dtypes.empty()) bench.dtypes.clear();
  for (const std::string& name : options.dtypes) bench.dtypes.push_back(parse_dtype(name));
  ProgressLine line;
  const bench::Report report = bench::run_ops(exec, bench, [&](const bench::Result& result) {
    line.show(fmt::format("measured {} of {}, {}", result.op, result.shape, to_string(result.dtype)));
  });
  line.clear();
  if (options.json) {
    print_json(bench::to_json(report));
  } else {
    print(bench::to_table(report));
  }
  return report.passed() ? exit_ok : exit_failed;
}

int run_model(const ModelOptions& options) {
  ExecContext exec = options.compute.make_context();
  ProgressLine line;
  line.show("making or loading the weights");
  const LanguageModel model = options.load(exec.device());
  line.show("measuring");
  bench::ModelOptions bench = options.bench;
  bench.state_dtype = options.state_dtype.value();
  bench.name = options.model.name.empty() ? options.shape : options.model.name;
  const bench::ModelReport report = bench::run_model(exec, model, bench);
  line.clear();
  if (options.json) {
    print_json(bench::to_json(report));
  } else {
    print(bench::to_text(report));
  }
  return report.refused.empty() ? exit_ok : exit_failed;
}

void add_count(CLI::App& command, const char* name, std::int64_t& value, const char* description) {
  command.add_option(name, value, description)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30).description(""))
      ->capture_default_str();
}

}  // namespace

Command add_bench_ops(CLI::App& bench) {
  const auto options = std::make_shared<OpsOptions>();
  CLI::App* const command = bench.add_subcommand("ops", "Time every op at the shapes of real models");
  command->add_option("--op", options->bench.op, "Only this op")
      ->check(CLI::IsMember(bench::op_names()).description(""));
  command->add_option("--dtype", options->dtypes, "Only this dtype; may be given more than once")
      ->check(compute_dtype_check());
  command->add_flag("--every-implementation", options->bench.every_implementation,
                    "Also the implementations that dispatch does not choose");
  command->add_flag("--quick", options->bench.quick, "Few repetitions: to see that it runs, not to quote");
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "The floors (copy and read bandwidth, multiply-adds, matrix products) are measured first, with the "
      "same\n"
      "threads. A configuration that does not agree with its reference is refused, and the exit code is 1.\n"
      "docs/benchmarks.md explains the columns and the fields of the JSON.\n\n"
      "Examples:\n"
      "  ophis bench ops --op ssd_scan --dtype float32\n"
      "  ophis bench ops --json > ops.json");
  return {command, [options] { return run_ops(*options); }};
}

Command add_bench_model(CLI::App& bench) {
  const auto options = std::make_shared<ModelOptions>();
  CLI::App* const command = bench.add_subcommand("model", "Time prefill and decode of a whole model");
  CLI::Option* const shape =
      command
          ->add_option("--shape", options->shape,
                       fmt::format("A published model's shape, with random weights: {}",
                                   fmt::join(published_model_names(), ", ")))
          ->check(CLI::IsMember(published_model_names()).description(""))
          ->capture_default_str();
  command->add_option("--model", options->model.name, "A model's folder, instead of --shape")
      ->excludes(shape);
  bench::ModelOptions& bench_options = options->bench;
  add_count(*command, "--prompt-tokens", bench_options.prompt_tokens, "Tokens of a prompt");
  add_count(*command, "--new-tokens", bench_options.new_tokens, "Tokens that are generated, a sequence");
  add_count(*command, "--batch", bench_options.batch, "Sequences at once");
  add_count(*command, "--repetitions", bench_options.repetitions, "The median of so many is told");
  options->model.add_quantization_to(*command);
  options->dtype.add_to(*command);
  options->state_dtype.add_to(*command);
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "Prefill is told in percent of the best matrix product, decode in percent of the read bandwidth, both\n"
      "measured in the same run with the same threads. If generating step by step does not agree with the\n"
      "whole forward pass, no speed is told, and the exit code is 1. docs/benchmarks.md explains the "
      "numbers.\n\n"
      "Examples:\n"
      "  ophis bench model --shape mamba-130m\n"
      "  ophis bench model --shape mamba2-2.7b --dtype bfloat16 --prompt-tokens 2048 --json");
  return {command, [options] { return run_model(*options); }};
}

}  // namespace ophis::cli
