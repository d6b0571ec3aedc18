// ophis info: what a model is made of, and what it would run on.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/core/cpu_isa.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/ops/parity.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  DTypeOption dtype;
  ComputeOptions compute;
  bool tensors = false;
  bool json = false;
};

Json mixer_json(const MambaConfig& config) {
  return {{"d_state", config.d_state},
          {"d_conv", config.d_conv},
          {"d_inner", config.d_inner},
          {"dt_rank", config.dt_rank},
          {"bias", config.bias},
          {"conv_bias", config.conv_bias},
          {"activation", to_string(config.activation)}};
}

Json mixer_json(const Mamba2Config& config) {
  return {{"d_state", config.d_state},
          {"d_conv", config.d_conv},
          {"d_inner", config.d_inner},
          {"headdim", config.headdim},
          {"nheads", config.nheads},
          {"ngroups", config.ngroups},
          {"chunk_size", config.chunk_size},
          {"bias", config.bias},
          {"conv_bias", config.conv_bias},
          {"rmsnorm", config.rmsnorm},
          {"norm_before_gate", config.norm_before_gate},
          {"D_has_hdim", config.D_has_hdim},
          {"dt_min", config.dt_min},
          {"dt_max", std::isfinite(config.dt_max) ? Json(config.dt_max) : Json("Infinity")},
          {"activation", to_string(config.activation)}};
}

Json config_json(const LanguageModelConfig& config) {
  Json json{{"model_type", config.model_type},
            {"vocab_size", config.vocab_size},
            {"d_model", config.d_model},
            {"n_layer", config.n_layer},
            {"norm_epsilon", config.norm_epsilon},
            {"rms_norm", config.rms_norm},
            {"residual_in_fp32", config.residual_in_fp32},
            {"tie_embeddings", config.tie_embeddings},
            {"bos_token_id", config.bos_token_id},
            {"pad_token_id", config.pad_token_id},
            {"eos_token_ids", config.eos_token_ids},
            {"dtype", to_string(config.dtype)}};
  json.update(std::visit([](const auto& mixer) { return mixer_json(mixer); }, config.mixer));
  return json;
}

/// Bytes of the states of one sequence, all layers together.
std::uint64_t state_bytes(const LanguageModelConfig& config, DType dtype) {
  const auto layer = [&](const auto& mixer) {
    const std::int64_t conv = (mixer.d_conv - 1) * mixer.conv_dim();
    const std::int64_t ssm = mixer.d_inner * mixer.d_state;
    return static_cast<std::uint64_t>(conv) * size_of(dtype) +
           static_cast<std::uint64_t>(ssm) * size_of(DType::float32);
  };
  return std::visit(layer, config.mixer) * static_cast<std::uint64_t>(config.n_layer);
}

Json checkpoint_json(const Checkpoint& checkpoint) {
  Json files = Json::array();
  for (const std::filesystem::path& file : checkpoint.files()) files.push_back(file.string());
  return {{"files", files}, {"tensors", checkpoint.names().size()}, {"bytes", checkpoint.total_bytes()}};
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json list = Json::array();
  for (const std::string& name : checkpoint.names()) {
    const TensorInfo info = checkpoint.info(name);
    list.push_back({{"name", name}, {"dtype", info.dtype}, {"shape", info.shape}, {"bytes", info.bytes}});
  }
  return list;
}

Json machine_json(const std::string& device) {
  Json implementations = Json::object();
  for (const std::string& op : parity_ops()) implementations[op] = implementation_names(op);
  return {{"device", device},
          {"threads", num_threads()},
          {"cpu_isa", to_string(cpu_isa())},
          {"implementations", implementations}};
}

/// "key   value" lines; strings without quotes.
void print_section(const char* title, const Json& values) {
  print(fmt::format("{}\n", title));
  for (const auto& [key, value] : values.items()) {
    print(fmt::format("  {:<24} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump()));
  }
}

void print_text(const Json& info) {
  print_section("model", info["config"]);
  const Json& memory = info["memory"];
  const auto size = [&](const char* key) { return format_bytes(memory[key].get<std::uint64_t>()); };
  print(fmt::format("parameters                 {}\n", format_count(info["parameters"].get<std::int64_t>())));
  print(fmt::format("memory in {:<16} weights {}, states {} a sequence\n", memory["dtype"].get<std::string>(),
                    size("weight_bytes"), size("state_bytes_per_sequence")));
  const Json& file = info["checkpoint"];
  print(fmt::format("checkpoint                 {} tensors, {}\n", file["tensors"].get<std::size_t>(),
                    format_bytes(file["bytes"].get<std::uint64_t>())));
  for (const Json& name : file["files"]) print(fmt::format("  {}\n", name.get<std::string>()));
  if (!info["unread_parameters"].empty()) {
    print(fmt::format("not read from config.json  {}\n",
                      fmt::join(info["unread_parameters"].get<std::vector<std::string>>(), ", ")));
  }
  const Json& machine = info["machine"];
  print(fmt::format("device                     {}, {} threads, instruction set {}\n",
                    machine["device"].get<std::string>(), machine["threads"].get<int>(),
                    machine["cpu_isa"].get<std::string>()));
  print_section("implementations, the first that can run is taken", machine["implementations"]);
  if (!info.contains("tensors")) return;
  print("tensors\n");
  for (const Json& tensor : info["tensors"]) {
    print(fmt::format("  {:<56} {:<9} {}\n", tensor["name"].get<std::string>(),
                      tensor["dtype"].get<std::string>(), tensor["shape"].dump()));
  }
}

int run(const Options& options) {
  const std::filesystem::path folder = options.model.folder();
  const LanguageModelConfig config = load_model_config(folder);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  options.compute.make_context();
  const DType dtype = options.dtype.value();
  const std::int64_t parameters = config.parameter_count();
  Json info{{"model", folder.string()},
            {"config", config_json(config)},
            {"unread_parameters", config.unread_parameters},
            {"parameters", parameters},
            {"memory",
             {{"dtype", to_string(dtype)},
              {"weight_bytes", static_cast<std::uint64_t>(parameters) * size_of(dtype)},
              {"state_bytes_per_sequence", state_bytes(config, dtype)}}},
            {"checkpoint", checkpoint_json(checkpoint)},
            {"machine", machine_json(options.compute.device)}};
  if (options.tensors) info["tensors"] = tensors_json(checkpoint);
  if (options.json) {
    print_json(info);
  } else {
    print_text(info);
  }
  return exit_ok;
}

}  // namespace

Command add_info(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "info", "Show a model's configuration, parameters and memory, and what it would run on");
  options->model.add_to(*command);
  command->add_flag("--tensors", options->tensors, "List the tensors of the checkpoint");
  options->dtype.add_to(*command);
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "The weights are not loaded. Memory is told for the dtype of --dtype.\n"
      "JSON: model, config, unread_parameters (names in config.json that change nothing), parameters, "
      "memory,\n"
      "checkpoint, machine (device, threads, cpu_isa, implementations), with --tensors tensors.\n\n"
      "Examples:\n"
      "  ophis info --model mamba-tiny --tensors\n"
      "  ophis info --model models/mamba-2.8b-hf --dtype bfloat16 --json");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
