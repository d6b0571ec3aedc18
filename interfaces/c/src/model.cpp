#include "ophis/models/language_model.hpp"

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"
#include "ophis/hub/resolve_model.hpp"

using namespace ophis::c;

namespace ophis::c {
namespace {

/// Of ophis_load_options or ophis_quantize_options.
template <class Options>
Quantization to_quantization(const Options& from) {
  const auto format = [&](const char* name, std::int32_t bits) -> std::optional<WeightFormat> {
    if (bits == 0) return std::nullopt;
    OPHIS_REQUIRE(bits == 8 || bits == 4, name, ": it is ", bits, ", but must be 8, 4 or 0");
    OPHIS_REQUIRE(from.group_size >= -1, "group_size: it is ", from.group_size, ", but must be at least -1");
    OPHIS_REQUIRE(from.asymmetric == 0 || from.asymmetric == 1, "asymmetric: it is ", from.asymmetric,
                  ", but must be 0 or 1");
    const std::int64_t group_size = from.group_size == 0 ? WeightFormat{}.group_size : from.group_size;
    return parse_weight_format(bits == 8 ? "int8" : "int4", group_size == -1 ? 0 : group_size,
                               from.asymmetric == 0);
  };
  return {format("projection_bits", from.projection_bits), format("table_bits", from.table_bits)};
}

ophis_quantize_options default_quantize_options() {
  ophis_quantize_options options{};
  options.projection_bits = WeightFormat{}.bits;
  options.calibration_tokens = QuantizeOptions{}.calibration_tokens;
  return options;
}

LoadOptions to_load_options(const ophis_load_options* given) {
  LoadOptions options;
  if (given == nullptr) return options;
  const ophis_load_options from = read_sized(*given);
  if (from.device.device_type != 0) options.device = to_device(from.device);
  if (from.dtype.bits != 0) options.dtype = to_dtype(from.dtype);
  options.quantization = to_quantization(from);
  if (from.progress) {
    options.progress = [from](std::uint64_t done, std::uint64_t total) {
      if (from.progress(from.user_data, done, total) == 0) throw Cancelled{"progress asked to stop"};
    };
  }
  return options;
}

void describe(const MambaConfig& mixer, ophis_model_config& config) {
  config.architecture = OPHIS_MAMBA;
  config.d_inner = mixer.d_inner;
  config.d_state = mixer.d_state;
  config.d_conv = mixer.d_conv;
  config.dt_rank = mixer.dt_rank;
}

void describe(const Mamba2Config& mixer, ophis_model_config& config) {
  config.architecture = OPHIS_MAMBA2;
  config.d_inner = mixer.d_inner;
  config.d_state = mixer.d_state;
  config.d_conv = mixer.d_conv;
  config.headdim = mixer.headdim;
  config.nheads = mixer.nheads;
  config.ngroups = mixer.ngroups;
  config.chunk_size = mixer.chunk_size;
}

/// The folder of the model. A download tells `progress` as loading does.
std::filesystem::path folder_of(const char* name, const ProgressFn& progress) {
  ResolveOptions options;
  if (progress) {
    options.progress = [&](const DownloadProgress& file) { progress(file.done_bytes, file.total_bytes); };
  }
  return resolve_model(name, options);
}

ophis_model_config describe(const LanguageModel& model) {
  const LanguageModelConfig& from = model.config();
  ophis_model_config config{};
  config.dtype = from_dtype(model.dtype());
  config.device = from_device(model.device());
  config.parameter_count = from.parameter_count();
  config.vocab_size = from.vocab_size;
  config.d_model = from.d_model;
  config.n_layer = from.n_layer;
  std::visit([&](const auto& mixer) { describe(mixer, config); }, from.mixer);
  config.norm_epsilon = from.norm_epsilon;
  config.rms_norm = from.rms_norm;
  config.residual_in_fp32 = from.residual_in_fp32;
  config.tie_embeddings = from.tie_embeddings;
  config.bos_token_id = from.bos_token_id;
  config.pad_token_id = from.pad_token_id;
  config.num_eos_token_ids = static_cast<std::int64_t>(from.eos_token_ids.size());
  config.eos_token_ids = from.eos_token_ids.data();
  return config;
}

}  // namespace

template <>
struct Mapping<ophis_forward_args> {
  using From = ophis_forward_args;
  using To = ForwardInput;
  static constexpr std::tuple members{OPHIS_C_MEMBER(input_ids),
                                      OPHIS_C_MEMBER(inputs_embeds),
                                      OPHIS_C_MEMBER(attention_mask),
                                      OPHIS_C_MEMBER(labels),
                                      OPHIS_C_MEMBER(cache),
                                      OPHIS_C_MEMBER(logits_to_keep),
                                      OPHIS_C_MEMBER(logits_positions),
                                      OPHIS_C_MEMBER(output_hidden_states)};
};

}  // namespace ophis::c

ophis_output::ophis_output(ophis::ForwardOutput result) : output(std::move(result)), logits(output.logits) {
  for (const ophis::Tensor& states : output.hidden_states) {
    hidden_states.push_back(std::make_unique<TensorView>(states));
  }
}

ophis_status ophis_load_options_init(ophis_load_options* options, size_t size) {
  return guarded(__func__, [&] { write_sized(ophis_load_options{}, require(options, "options"), size); });
}

ophis_status ophis_model_load(const char* name, const ophis_load_options* options, ophis_model** model) {
  return guarded(__func__, [&] {
    ophis_model*& result = require(model, "model");
    const ophis::LoadOptions load = to_load_options(options);
    const std::filesystem::path folder = folder_of(&require(name, "name"), load.progress);
    result = new ophis_model{ophis::LanguageModel::load(folder, load)};
  });
}

ophis_status ophis_quantize_options_init(ophis_quantize_options* options, size_t size) {
  return guarded(__func__,
                 [&] { write_sized(default_quantize_options(), require(options, "options"), size); });
}

ophis_status ophis_quantize(const char* from, const char* to, const ophis_quantize_options* options) {
  return guarded(__func__, [&] {
    const ophis_quantize_options given = options ? read_sized(*options) : default_quantize_options();
    ophis::QuantizeOptions quantize;
    quantize.what = to_quantization(given);
    if (given.calibration_text) quantize.calibration_text = given.calibration_text;
    OPHIS_REQUIRE(given.calibration_tokens >= 1, "calibration_tokens: it is ", given.calibration_tokens,
                  ", but must be at least 1");
    quantize.calibration_tokens = given.calibration_tokens;
    ophis::quantize_model(&require(from, "from"), &require(to, "to"), quantize);
  });
}

void ophis_model_destroy(ophis_model* model) { delete model; }

ophis_status ophis_model_get_config(const ophis_model* model, ophis_model_config* config) {
  return guarded(__func__, [&] {
    ophis_model_config& result = require(config, "config");
    write_sized(describe(require(model, "model").model), result, result.size);
  });
}

ophis_status ophis_forward_args_init(ophis_forward_args* args, size_t size) {
  return guarded(__func__, [&] { write_defaults(args, size); });
}

ophis_status ophis_model_forward(const ophis_model* model, ophis_context* context,
                                 const ophis_forward_args* args, ophis_output** output) {
  return guarded(__func__, [&] {
    const ophis::LanguageModel& which = require(model, "model").model;
    ophis::ExecContext& exec = require(context, "context").exec;
    ophis_output*& result = require(output, "output");
    result = new ophis_output(which.forward(exec, to_cpp(args)));
  });
}

void ophis_output_destroy(ophis_output* output) { delete output; }

ophis_status ophis_output_logits(const ophis_output* output, const ophis_tensor** logits) {
  return guarded(__func__, [&] { require(logits, "logits") = &require(output, "output").logits; });
}

ophis_status ophis_output_hidden_states(const ophis_output* output, int64_t index,
                                        const ophis_tensor** hidden_states) {
  return guarded(__func__, [&] {
    const auto& states = require(output, "output").hidden_states;
    OPHIS_REQUIRE(index >= 0 && index < static_cast<std::int64_t>(states.size()), "index is ", index,
                  ", but the output has ", states.size(), " hidden states");
    require(hidden_states, "hidden_states") = states[static_cast<std::size_t>(index)].get();
  });
}

ophis_status ophis_output_loss(const ophis_output* output, double* loss) {
  return guarded(__func__, [&] {
    const std::optional<double>& mean = require(output, "output").output.loss;
    OPHIS_REQUIRE(mean, "the forward pass had no labels");
    require(loss, "loss") = *mean;
  });
}

ophis_status ophis_model_step(const ophis_model* model, ophis_context* context, const ophis_tensor* ids,
                              ophis_cache* cache, const ophis_tensor* logits) {
  return guarded(__func__, [&] {
    const ophis::LanguageModel& which = require(model, "model").model;
    ophis::Tensor in, out;
    convert_named("ids", &require(ids, "ids"), in);
    convert_named("logits", &require(logits, "logits"), out);
    which.step(require(context, "context").exec, in, require(cache, "cache").cache, out);
  });
}
