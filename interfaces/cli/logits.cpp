// ophis logits: a model's output for token ids, as a safetensors file.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "ophis/ops/argmax.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  DTypeOption dtype;
  ComputeOptions compute;
  std::string ids, input, out;
  std::int64_t logits_to_keep = 0;
  bool hidden_states = false;
  bool json = false;
};

/// The token ids of the command line or of a file, and what holds their memory.
struct Input {
  std::optional<Checkpoint> file;
  OwnedTensor ids;
  Tensor input_ids, attention_mask;
};

Input read_input(const Options& options) {
  Input input;
  if (!options.input.empty()) {
    input.file.emplace(Checkpoint::open(options.input));
    input.input_ids = input.file->tensor("input_ids");
    if (input.file->contains("attention_mask")) input.attention_mask = input.file->tensor("attention_mask");
    return input;
  }
  const std::vector<std::int32_t> ids = parse_ids(options.ids);
  input.ids = OwnedTensor(DType::int64, {1, static_cast<std::int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), input.ids->data<std::int64_t>());
  input.input_ids = input.ids;
  return input;
}

/// A model's output on the host.
struct Output {
  OwnedTensor logits;
  std::vector<OwnedTensor> hidden_states;

  Output(ExecContext& exec, const ForwardOutput& from) : logits(copy_to(exec, from.logits, Device::cpu())) {
    for (const Tensor& tensor : from.hidden_states)
      hidden_states.push_back(copy_to(exec, tensor, Device::cpu()));
  }

  std::vector<NamedTensor> named() const {
    std::vector<NamedTensor> tensors{{"logits", logits}};
    for (std::size_t i = 0; i < hidden_states.size(); ++i) {
      tensors.push_back({fmt::format("hidden_states.{}", i), hidden_states[i]});
    }
    return tensors;
  }
};

/// The most probable next token of each sequence, and its logit.
struct Next {
  std::vector<std::int64_t> ids;
  std::vector<float> logits;

  explicit Next(const Tensor& of_all) : ids(static_cast<std::size_t>(of_all.extent(0))) {
    ExecContext exec;
    const Tensor last = of_all.select(1, of_all.extent(1) - 1);
    argmax(exec, {last, Tensor(ids.data(), DType::int64, {last.extent(0)})});
    exec.fence();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      logits.push_back(last.select(0, static_cast<std::int64_t>(i)).data<float>()[ids[i]]);
    }
  }
  std::string text() const {
    std::string words;
    for (std::size_t i = 0; i < ids.size(); ++i) words += fmt::format(" {} ({:.4f})", ids[i], logits[i]);
    return words;
  }
};

int run(const Options& options) {
  const Input input = read_input(options);
  ExecContext exec = options.compute.make_context();
  const LanguageModel model = options.model.load(options.dtype.value(), exec.device());
  const Stopwatch watch;
  const ForwardOutput forward = model.forward(exec, {.input_ids = input.input_ids,
                                                     .inputs_embeds = {},
                                                     .attention_mask = input.attention_mask,
                                                     .labels = {},
                                                     .logits_to_keep = options.logits_to_keep,
                                                     .logits_positions = {},
                                                     .output_hidden_states = options.hidden_states});
  const double seconds = watch.seconds();
  const Output output(exec, forward);
  const std::vector<NamedTensor> tensors = output.named();
  save_safetensors(options.out, tensors);

  const Next next(output.logits);
  if (!options.json) {
    fmt::print(stderr, "forward {:.3f} s; wrote {}\n", seconds, options.out);
    for (const NamedTensor& named : tensors) {
      print(detail::concat(named.name, ' ', named.tensor.dtype(), ' ', named.tensor.shape(), '\n'));
    }
    print(fmt::format("most probable next:{}\n", next.text()));
    return exit_ok;
  }
  Json list = Json::array();
  for (const NamedTensor& named : tensors) {
    list.push_back({{"name", named.name},
                    {"dtype", to_string(named.tensor.dtype())},
                    {"shape", to_json(named.tensor.shape())}});
  }
  print_json({{"out", options.out},
              {"tensors", list},
              {"next_ids", next.ids},
              {"next_logits", next.logits},
              {"dtype", to_string(model.dtype())},
              {"forward_seconds", seconds}});
  return exit_ok;
}

}  // namespace

Command add_logits(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command =
      program.add_subcommand("logits", "Compute the logits of token ids into a safetensors file");
  options->model.add_to(*command);
  CLI::Option_group* const source = command->add_option_group("Token ids", "What the model reads");
  source->add_option("--ids", options->ids, "One sequence, e.g. 1,2,3")
      ->check(CLI::Validator(
          [](std::string& text) -> std::string {
            try {
              return parse_ids(text).empty() ? "there is no id" : "";
            } catch (const Error& error) {
              return error.what();
            }
          },
          ""));
  source->add_option(
      "--input", options->input,
      "A safetensors file with input_ids (batch, seqlen), int64 or int32, and if there is left "
      "padding attention_mask of the same shape (0: padding)");
  source->require_option(1);
  command->add_option("--out", options->out, "The file to write: logits (batch, seqlen, vocab_size), float32")
      ->required();
  command
      ->add_option("--logits-to-keep", options->logits_to_keep,
                   "Logits of the last so many positions; 0: of all")
      ->check(CLI::NonNegativeNumber.description(""))
      ->capture_default_str();
  command->add_flag(
      "--hidden-states", options->hidden_states,
      "Also write hidden_states.0 (after the first block) to hidden_states.N (after the final norm)");
  options->model.add_quantization_to(*command);
  options->dtype.add_to(*command);
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "The file appears whole or not at all.\n"
      "JSON: out, tensors (name, dtype, shape), next_ids and next_logits (of each sequence the most\n"
      "probable next id and its logit), dtype, forward_seconds.\n\n"
      "Examples:\n"
      "  ophis logits --ids 1833,26,199 --out logits.safetensors\n"
      "  ophis logits --model models/mamba-130m-hf --input batch.safetensors --out logits.safetensors "
      "--hidden-states");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
