#include "ophis/models/config.hpp"

#include <array>
#include <cmath>

#include "models/src/checkpoint_file.hpp"
#include "models/src/gguf/gguf_config.hpp"
#include "models/src/json_fields.hpp"

namespace ophis {
namespace {

// Generous limits that keep every product of two sizes within int64 and every file within reason.
constexpr std::int64_t largest_size = std::int64_t{1} << 24;
constexpr std::int64_t most_layers = 4096;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

TimeStepConfig read_time_step(JsonFields& fields, std::string_view prefix) {
  const auto name = [&](std::string_view suffix) { return detail::concat(prefix, suffix); };
  TimeStepConfig step;
  step.min = fields.number(name("min"), step.min);
  step.max = fields.number(name("max"), step.max);
  step.scale = fields.number(name("scale"), step.scale);
  if (!(step.min > 0 && step.min <= step.max && std::isfinite(step.max))) {
    fail(ErrorCode::corrupt_data, fields.label(name("min")), " and ", name("max"),
         " should be positive and in order, got ", step.min, " and ", step.max);
  }
  return step;
}

DtInit read_dt_init(JsonFields& fields, std::string_view name) {
  const std::string scheme = fields.text(name, "random");
  if (scheme == "random") return DtInit::random;
  if (scheme == "constant" || scheme == "uniform") return DtInit::constant;
  fail(ErrorCode::unsupported, fields.label(name), " should be random, constant or uniform, got '", scheme,
       "'");
}

/// [low, high] in a field, with Infinity allowed.
std::pair<double, double> read_interval(JsonFields& fields, std::string_view name, double low, double high) {
  const nlohmann::json* const value = fields.find(name);
  if (value == nullptr) return {low, high};
  if (!value->is_array() || value->size() != 2) {
    fail(ErrorCode::corrupt_data, fields.label(name), " should be a list of two numbers, got ",
         describe_json(*value));
  }
  const std::string label = fields.label(name);
  const std::pair<double, double> interval{json_number((*value)[0], label), json_number((*value)[1], label)};
  if (!(interval.first <= interval.second)) {
    fail(ErrorCode::corrupt_data, label, " should rise, got ", describe_json(*value));
  }
  return interval;
}

std::vector<std::int64_t> read_token_ids(JsonFields& fields, std::string_view name,
                                         std::int64_t default_value) {
  const nlohmann::json* const value = fields.find(name);
  if (value == nullptr) return {default_value};
  std::vector<std::int64_t> ids;
  for (const nlohmann::json& id : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!id.is_number_integer()) {
      fail(ErrorCode::corrupt_data, fields.label(name), " should be an integer or a list of them, got ",
           describe_json(*value));
    }
    ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

Activation read_activation(JsonFields& fields, std::string_view name) {
  try {
    return parse_activation(fields.text(name, "silu"));
  } catch (const Error& error) {
    fail(ErrorCode::unsupported, fields.label(name), ": ", error.what());
  }
}

/// "auto", or a number.
std::int64_t read_dt_rank(JsonFields& fields, std::string_view name, std::int64_t d_model) {
  const nlohmann::json* const value = fields.find(name);
  if (value == nullptr || *value == "auto") return ceil_div(d_model, 16);
  return fields.integer(name, 0, 1, largest_size);
}

// ---- Hugging Face
// -----------------------------------------------------------------------------------------------

MambaConfig read_hf_mamba(JsonFields& fields, std::int64_t d_model) {
  MambaConfig mixer;
  mixer.d_model = d_model;
  mixer.d_state = fields.integer("state_size", 16, 1, largest_size);
  mixer.d_conv = fields.integer("conv_kernel", 4, 1, largest_size);
  const std::int64_t expand = fields.integer("expand", 2, 1, 1024);
  mixer.d_inner = fields.integer("intermediate_size", expand * d_model, 1, largest_size);
  mixer.dt_rank = read_dt_rank(fields, "time_step_rank", d_model);
  mixer.bias = fields.boolean("use_bias", false);
  mixer.conv_bias = fields.boolean("use_conv_bias", true);
  mixer.activation = read_activation(fields, "hidden_act");
  mixer.time_step = read_time_step(fields, "time_step_");
  mixer.time_step.floor = fields.number("time_step_floor", mixer.time_step.floor);
  mixer.time_step.init = read_dt_init(fields, "time_step_init_scheme");
  fields.pass_over({"use_mambapy", "use_associative_scan", "rms_norm"});
  return mixer;
}

Mamba2Config read_hf_mamba2(JsonFields& fields, std::int64_t d_model) {
  Mamba2Config mixer;
  mixer.d_model = d_model;
  mixer.d_state = fields.integer("state_size", 128, 1, largest_size);
  mixer.d_conv = fields.integer("conv_kernel", 4, 1, largest_size);
  mixer.d_inner = fields.integer("expand", 2, 1, 1024) * d_model;
  mixer.nheads = fields.integer("num_heads", 128, 1, largest_size);
  mixer.headdim = fields.integer("head_dim", 64, 1, largest_size);
  mixer.ngroups = fields.integer("n_groups", 8, 1, largest_size);
  mixer.chunk_size = fields.integer("chunk_size", 256, 1, largest_size);
  mixer.bias = fields.boolean("use_bias", false);
  mixer.conv_bias = fields.boolean("use_conv_bias", true);
  mixer.activation = read_activation(fields, "hidden_act");
  std::tie(mixer.dt_min, mixer.dt_max) = read_interval(fields, "time_step_limit", mixer.dt_min, mixer.dt_max);
  mixer.time_step = read_time_step(fields, "time_step_");
  mixer.time_step.floor = fields.number("time_step_floor", mixer.time_step.floor);
  // transformers reads but never uses these: its gated norm always comes after the gate, Codestral says
  // otherwise.
  fields.pass_over({"time_step_rank", "norm_before_gate", "rms_norm", "intermediate_size"});
  return mixer;
}

LanguageModelConfig read_hf(JsonFields& fields) {
  LanguageModelConfig config;
  config.model_type = fields.text("model_type", "");
  config.d_model = fields.integer("hidden_size", config.model_type == "mamba" ? 768 : 4096, 1, largest_size);
  config.n_layer =
      fields.integer("num_hidden_layers", config.model_type == "mamba" ? 32 : 64, 1, most_layers);
  config.residual_in_fp32 = fields.boolean("residual_in_fp32", true);
  if (config.model_type == "mamba") {
    config.vocab_size = fields.integer("vocab_size", 50280, 1, largest_size);
    config.tie_embeddings = fields.boolean("tie_word_embeddings", true);
    config.mixer = read_hf_mamba(fields, config.d_model);
  } else if (config.model_type == "mamba2") {
    config.vocab_size = fields.integer("vocab_size", 32768, 1, largest_size);
    config.tie_embeddings = fields.boolean("tie_word_embeddings", false);
    config.mixer = read_hf_mamba2(fields, config.d_model);
  } else {
    fail(ErrorCode::unsupported, fields.label("model_type"), " is '", config.model_type,
         "'; Ophis knows mamba and mamba2");
  }
  config.norm_epsilon = fields.number("layer_norm_epsilon", 1e-5);
  config.initializer_range = fields.number("initializer_range", 0.1);
  config.rescale_prenorm_residual = fields.boolean("rescale_prenorm_residual", false);
  const bool is_mamba2 = config.model_type == "mamba2";
  config.bos_token_id = fields.integer("bos_token_id", 0, -1, largest_size);
  config.pad_token_id = fields.integer("pad_token_id", is_mamba2 ? 1 : 0, -1, largest_size);
  config.eos_token_ids = read_token_ids(fields, "eos_token_id", is_mamba2 ? 2 : 0);
  const std::string dtype = fields.text("torch_dtype", fields.text("dtype", "float32"));
  config.dtype = parse_dtype(dtype);
  fields.pass_over({"architectures", "use_cache", "transformers_version", "_name_or_path", "dtype"});
  return config;
}

// ---- mamba_ssm
// --------------------------------------------------------------------------------------------------

/// Fields that both of mamba_ssm's blocks take.
template <class Mixer>
void read_ssm_common(JsonFields& fields, Mixer& mixer) {
  mixer.d_conv = fields.integer("d_conv", mixer.d_conv, 1, largest_size);
  mixer.d_inner = fields.integer("expand", 2, 1, 1024) * mixer.d_model;
  mixer.bias = fields.boolean("bias", mixer.bias);
  mixer.conv_bias = fields.boolean("conv_bias", mixer.conv_bias);
  mixer.time_step = read_time_step(fields, "dt_");
  mixer.time_step.floor = fields.number("dt_init_floor", mixer.time_step.floor);
  fields.pass_over({"layer", "use_fast_path", "use_mem_eff_path"});
}

MambaConfig read_ssm_mamba(JsonFields& fields, std::int64_t d_model) {
  MambaConfig mixer;
  mixer.d_model = d_model;
  mixer.d_state = fields.integer("d_state", mixer.d_state, 1, largest_size);
  read_ssm_common(fields, mixer);
  mixer.dt_rank = read_dt_rank(fields, "dt_rank", d_model);
  mixer.time_step.init = read_dt_init(fields, "dt_init");
  return mixer;
}

Mamba2Config read_ssm_mamba2(JsonFields& fields, std::int64_t d_model) {
  Mamba2Config mixer;
  mixer.d_model = d_model;
  mixer.d_state = fields.integer("d_state", mixer.d_state, 1, largest_size);
  read_ssm_common(fields, mixer);
  mixer.headdim = fields.integer("headdim", mixer.headdim, 1, largest_size);
  mixer.nheads = mixer.d_inner / mixer.headdim;
  mixer.ngroups = fields.integer("ngroups", 1, 1, largest_size);
  mixer.chunk_size = fields.integer("chunk_size", mixer.chunk_size, 1, largest_size);
  mixer.rmsnorm = fields.boolean("rmsnorm", true);
  mixer.norm_before_gate = fields.boolean("norm_before_gate", false);
  mixer.D_has_hdim = fields.boolean("D_has_hdim", false);
  std::tie(mixer.dt_min, mixer.dt_max) = read_interval(fields, "dt_limit", mixer.dt_min, mixer.dt_max);
  std::tie(mixer.A_init_min, mixer.A_init_max) = read_interval(fields, "A_init_range", 1.0, 16.0);
  if (fields.integer("d_ssm", mixer.d_inner, 0, largest_size) != mixer.d_inner) {
    fail(ErrorCode::unsupported, fields.label("d_ssm"),
         ": a block whose scan covers a part of its channels is not supported");
  }
  fields.pass_over({"conv_init"});
  return mixer;
}

LanguageModelConfig read_mamba_ssm(JsonFields& fields) {
  LanguageModelConfig config;
  config.d_model = fields.integer("d_model", 2560, 1, largest_size);
  config.n_layer = fields.integer("n_layer", 64, 1, most_layers);
  const std::int64_t multiple = fields.integer("pad_vocab_size_multiple", 8, 1, largest_size);
  config.vocab_size = ceil_div(fields.integer("vocab_size", 50277, 1, largest_size), multiple) * multiple;
  config.rms_norm = fields.boolean("rms_norm", true);
  config.residual_in_fp32 = fields.boolean("residual_in_fp32", true);
  config.tie_embeddings = fields.boolean("tie_embeddings", true);
  config.rescale_prenorm_residual = true;  // always, in mamba_ssm
  if (fields.integer("d_intermediate", 0, 0, largest_size) != 0) {
    fail(ErrorCode::unsupported, fields.label("d_intermediate"),
         ": blocks with an MLP are not supported yet");
  }
  if (const nlohmann::json* const layers = fields.find("attn_layer_idx"); layers && !layers->empty()) {
    fail(ErrorCode::unsupported, fields.label("attn_layer_idx"), ": attention layers are not supported yet");
  }
  fields.pass_over({"attn_cfg", "fused_add_norm"});

  static const nlohmann::json empty = nlohmann::json::object();
  const nlohmann::json* const ssm_cfg = fields.find("ssm_cfg");
  JsonFields ssm(ssm_cfg ? *ssm_cfg : empty, fields.label("ssm_cfg"));
  const std::string layer = ssm.text("layer", "Mamba1");
  if (layer == "Mamba1") {
    config.model_type = "mamba";
    config.mixer = read_ssm_mamba(ssm, config.d_model);
  } else if (layer == "Mamba2") {
    config.model_type = "mamba2";
    config.mixer = read_ssm_mamba2(ssm, config.d_model);
  } else {
    fail(ErrorCode::unsupported, ssm.label("layer"), " is '", layer, "'; Ophis knows Mamba1 and Mamba2");
  }
  if (const std::vector<std::string> unknown = ssm.unread(); !unknown.empty()) {
    fail(ErrorCode::unsupported, ssm.label(unknown.front()), " is not a parameter that Ophis knows");
  }
  return config;
}

/// What compressed-tensors calls a scheme must be of weights alone; which tensors have which format shows in
/// the tensors themselves.
void check_compressed_tensors(JsonFields& fields) {
  const std::string format = fields.text("format", "pack-quantized");
  if (format != "pack-quantized" && format != "int-quantized" && format != "mixed-precision") {
    fail(ErrorCode::unsupported, fields.label("format"), " is '", format,
         "'; Ophis reads pack-quantized and int-quantized");
  }
  const nlohmann::json* const groups = fields.find("config_groups");
  if (groups == nullptr || !groups->is_object()) return;
  for (const auto& [name, group] : groups->items()) {
    if (group.is_object() && group.contains("input_activations") && !group["input_activations"].is_null()) {
      fail(ErrorCode::unsupported, fields.label("config_groups"), '.', json_quoted(name),
           ": quantized activations are not supported, only weights");
    }
  }
}

/// torchao's configuration by name, {"quant_type": "int4_weight_only", "quant_type_kwargs": {"group_size":
/// 128}}, or as an object, {"quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {...}}}}.
Quantization read_torchao(JsonFields& fields) {
  static const nlohmann::json empty = nlohmann::json::object();
  const nlohmann::json* type = fields.find("quant_type");
  const nlohmann::json* arguments = fields.find("quant_type_kwargs");
  std::string name = type && type->is_string() ? type->get<std::string>() : "";
  if (type && type->is_object() && type->contains("default")) type = &(*type)["default"];
  if (type && type->is_object() && type->contains("_type") && (*type)["_type"].is_string()) {
    name = (*type)["_type"].get<std::string>();
    arguments = type->contains("_data") ? &(*type)["_data"] : nullptr;
  }
  JsonFields given(arguments ? *arguments : empty, fields.label("quant_type_kwargs"));
  if (name == "int4_weight_only" || name == "Int4WeightOnlyConfig") {
    return {parse_weight_format("int4", given.integer("group_size", 128, 8, largest_size), false), {}};
  }
  if (name == "int8_weight_only" || name == "Int8WeightOnlyConfig")
    return {parse_weight_format("int8", 0), {}};
  fail(ErrorCode::unsupported, fields.label("quant_type"), " is ", json_quoted(name),
       "; Ophis knows int4_weight_only and int8_weight_only");
}

Quantization read_quantization(JsonFields& fields) {
  const nlohmann::json* const value = fields.find("quantization_config");
  if (value == nullptr) return {};
  JsonFields quantization(*value, fields.label("quantization_config"));
  const std::string method = quantization.text("quant_method", "");
  if (method == "torchao") return read_torchao(quantization);
  if (method != "compressed-tensors") {
    fail(ErrorCode::unsupported, quantization.label("quant_method"), " is ", json_quoted(method),
         "; Ophis knows compressed-tensors and torchao");
  }
  check_compressed_tensors(quantization);
  return {};
}

void check_sizes(const LanguageModelConfig& config, std::string_view origin) {
  const auto* const mixer = std::get_if<Mamba2Config>(&config.mixer);
  if (mixer == nullptr) return;
  if (mixer->nheads * mixer->headdim != mixer->d_inner) {
    fail(ErrorCode::corrupt_data, origin, ": ", mixer->nheads, " heads of ", mixer->headdim,
         " do not make the inner width ", mixer->d_inner, " (expand * hidden_size)");
  }
  if (mixer->nheads % mixer->ngroups != 0 || mixer->d_inner % mixer->ngroups != 0) {
    fail(ErrorCode::corrupt_data, origin, ": ", mixer->ngroups, " groups do not divide ", mixer->nheads,
         " heads");
  }
}

std::int64_t mixer_parameters(const MambaConfig& m) {
  const std::int64_t projections = m.d_model * 2 * m.d_inner + m.d_inner * (m.dt_rank + 2 * m.d_state) +
                                   m.dt_rank * m.d_inner + m.d_inner * m.d_model;
  const std::int64_t biases =
      m.d_inner + (m.conv_bias ? m.d_inner : 0) + (m.bias ? 2 * m.d_inner + m.d_model : 0);
  return projections + biases + m.d_inner * (m.d_conv + m.d_state + 1);
}

std::int64_t mixer_parameters(const Mamba2Config& m) {
  const std::int64_t in_proj = 2 * m.d_inner + 2 * m.ngroups * m.d_state + m.nheads;
  const std::int64_t biases =
      m.nheads + (m.conv_bias ? m.conv_dim() : 0) + (m.bias ? in_proj + m.d_model : 0);
  return m.d_model * (in_proj + m.d_inner) + biases + m.conv_dim() * m.d_conv + m.nheads +
         (m.D_has_hdim ? m.d_inner : m.nheads) + (m.rmsnorm ? m.d_inner : 0);
}

struct PublishedModel {
  std::string_view name;
  std::int64_t n_layer, d_model;
};

constexpr std::array<PublishedModel, 10> published_models{{{"mamba-130m", 24, 768},
                                                           {"mamba-370m", 48, 1024},
                                                           {"mamba-790m", 48, 1536},
                                                           {"mamba-1.4b", 48, 2048},
                                                           {"mamba-2.8b", 64, 2560},
                                                           {"mamba2-130m", 24, 768},
                                                           {"mamba2-370m", 48, 1024},
                                                           {"mamba2-780m", 48, 1536},
                                                           {"mamba2-1.3b", 48, 2048},
                                                           {"mamba2-2.7b", 64, 2560}}};

constexpr std::string_view codestral_json =
    R"({"model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64,
    "num_heads": 128, "head_dim": 64, "n_groups": 8, "state_size": 128, "vocab_size": 32768,
    "tie_word_embeddings": false, "dtype": "bfloat16"})";

LanguageModelConfig read_model_config(const nlohmann::json& json, std::string_view origin) {
  JsonFields fields(json, std::string(origin));
  LanguageModelConfig config;
  if (fields.has("model_type")) {
    config = read_hf(fields);
  } else if (fields.has("d_model") || fields.has("n_layer")) {
    config = read_mamba_ssm(fields);
  } else {
    fail(ErrorCode::unsupported, origin,
         ": neither a Hugging Face configuration (model_type) nor one of mamba_ssm (d_model, n_layer)");
  }
  config.quantize_on_load = read_quantization(fields);
  config.unread_parameters = fields.unread();
  check_sizes(config, origin);
  return config;
}

}  // namespace

std::int64_t LanguageModelConfig::parameter_count() const {
  const std::int64_t norm = rms_norm ? d_model : 2 * d_model;
  const std::int64_t block = std::visit([](const auto& m) { return mixer_parameters(m); }, mixer) + norm;
  return vocab_size * d_model * (tie_embeddings ? 1 : 2) + n_layer * block + norm;
}

LanguageModelConfig parse_model_config(std::string_view json_text, std::string_view origin) {
  return read_model_config(parse_json(json_text, origin), origin);
}

LanguageModelConfig load_model_config(const std::filesystem::path& model) {
  if (const auto file = find_gguf(model))
    return read_model_config(gguf_config(Checkpoint::open(*file)), file->string());
  const std::filesystem::path file = model / "config.json";
  return parse_model_config(read_text_file(file, std::size_t{1} << 24), file.string());
}

LanguageModelConfig published_model_config(std::string_view name) {
  if (name == "codestral-7b") return parse_model_config(codestral_json, name);
  for (const PublishedModel& model : published_models) {
    if (name != model.name) continue;
    const bool is_mamba2 = name.starts_with("mamba2");
    return parse_model_config(
        detail::concat(R"({"d_model": )", model.d_model, R"(, "n_layer": )", model.n_layer,
                       R"(, "vocab_size": 50277, "pad_vocab_size_multiple": )", is_mamba2 ? 16 : 8,
                       R"(, "ssm_cfg": {"layer": ")", is_mamba2 ? "Mamba2" : "Mamba1", R"("}})"),
        name);
  }
  std::string known;
  for (const std::string& each : published_model_names()) known += (known.empty() ? "" : ", ") + each;
  fail(ErrorCode::invalid_argument, "unknown model shape '", name, "'; known: ", known);
}

std::vector<std::string> published_model_names() {
  std::vector<std::string> names;
  for (const PublishedModel& model : published_models) names.emplace_back(model.name);
  names.emplace_back("codestral-7b");
  return names;
}

}  // namespace ophis
