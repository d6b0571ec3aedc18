#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <type_traits>

#include "interfaces/python/src/array.hpp"
#include "interfaces/python/src/bindings.hpp"
#include "interfaces/python/src/context.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/core/graph.hpp"
#include "ophis/hub/resolve_model.hpp"
#include "ophis/models/cache_file.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/quantization.hpp"

/// Vectors of what can only be moved hide from the compiler that these cannot be copied.
template <>
struct nanobind::detail::is_copy_constructible<ophis::LanguageModel> : std::false_type {};
template <>
struct nanobind::detail::is_copy_constructible<ophis::ModelCache> : std::false_type {};

namespace ophis::python {
namespace {

using namespace nb::literals;

/// Told the file, the bytes that it has, and the bytes that it will have.
using DownloadFn = std::function<void(std::string, std::uint64_t, std::uint64_t)>;

std::string resolve(const std::string& name, const std::string& revision, bool tokenizer_only,
                    const DownloadFn& progress) {
  ResolveOptions options;
  options.revision = revision;
  if (tokenizer_only) options.files = ModelFiles::tokenizer;
  options.progress = [&](const DownloadProgress& at) {
    nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (progress) progress(std::string(at.file), at.done_bytes, at.total_bytes);
  };
  nb::gil_scoped_release unlocked;
  return resolve_model(name, options).string();
}

/// Tells a Python function, if given; an exception of its own, or Ctrl-C, ends what goes on.
ProgressFn interruptible(const ProgressFn& progress) {
  return [&progress](std::uint64_t done, std::uint64_t total) {
    nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (progress) progress(done, total);
  };
}

/// "int8", "int4" or none, of the projections and of the tables.
Quantization to_quantization(const std::optional<std::string>& projections,
                             const std::optional<std::string>& tables, std::int64_t group_size,
                             bool asymmetric) {
  Quantization quantization;
  if (projections) quantization.projections = parse_weight_format(*projections, group_size, !asymmetric);
  if (tables) quantization.tables = parse_weight_format(*tables, group_size, !asymmetric);
  return quantization;
}

LanguageModel load_model(const std::string& folder, const std::string& device,
                         const std::optional<std::string>& dtype,
                         const std::optional<std::string>& projections,
                         const std::optional<std::string>& tables, std::int64_t group_size, bool asymmetric,
                         const ProgressFn& progress) {
  LoadOptions options;
  options.device = parse_device(device);
  if (dtype) options.dtype = parse_dtype(*dtype);
  options.quantization = to_quantization(projections, tables, group_size, asymmetric);
  options.progress = interruptible(progress);
  nb::gil_scoped_release unlocked;
  return LanguageModel::load(folder, options);
}

void quantize_folder(const std::string& folder, const std::string& out,
                     const std::optional<std::string>& projections, const std::optional<std::string>& tables,
                     std::int64_t group_size, bool asymmetric, const std::string& calibration_text,
                     std::int64_t calibration_tokens, const ProgressFn& progress) {
  QuantizeOptions options;
  options.what = to_quantization(projections, tables, group_size, asymmetric);
  options.calibration_text = calibration_text;
  options.calibration_tokens = calibration_tokens;
  options.progress = interruptible(progress);
  nb::gil_scoped_release unlocked;
  quantize_model(folder, out, options);
}

LanguageModel random_model(const std::string& name, const std::string& device, const std::string& dtype,
                           std::uint64_t seed, const std::optional<std::string>& projections,
                           const std::optional<std::string>& tables, std::int64_t group_size,
                           bool asymmetric) {
  const Quantization quantization = to_quantization(projections, tables, group_size, asymmetric);
  nb::gil_scoped_release unlocked;
  return LanguageModel::random(published_model_config(name), parse_dtype(dtype), seed, parse_device(device),
                               quantization);
}

/// Of arrays by their names, which the model keeps.
LanguageModel model_of_parameters(const std::string& config_json, const nb::dict& parameters,
                                  const std::string& device, const std::string& dtype) {
  ParameterMap map;
  for (const auto& [key, value] : parameters) {
    const auto name = nb::cast<std::string>(key);
    Array array = to_array(value, name.c_str(), false);
    OPHIS_REQUIRE(array.tensor, "parameter ", name, " is None, but must be an array");
    const Tensor tensor = array.tensor;
    map[name] = {tensor, std::make_shared<const Array>(std::move(array))};
  }
  nb::gil_scoped_release unlocked;
  return LanguageModel::from_parameters(parse_model_config(config_json, "config"),
                                        ParameterSource(std::move(map), Placement(parse_device(device))),
                                        parse_dtype(dtype));
}

/// The next positions of the sequences of a cache. Ids and logits stay where they are, so that a GPU replays
/// one recorded graph.
class Stepper {
 public:
  Stepper(const LanguageModel& model, ModelCache& cache, std::optional<std::uintptr_t> stream)
      : m_cache(cache),
        m_ids(DType::int64, {cache.batch()}, model.device()),
        m_logits(DType::float32, {cache.batch(), model.config().vocab_size}, model.device()),
        m_graph(context_on(model.device(), stream),
                [&exec = context_on(model.device(), stream), &model, &cache, ids = m_ids.view(),
                 logits = m_logits.view()] { model.step(exec, ids, cache, logits); }) {}

  const Tensor& ids() const { return m_ids.view(); }
  const Tensor& logits() const { return m_logits.view(); }
  void run() {
    const std::int64_t seen = m_cache.seqlen();
    m_graph.run();
    m_cache.set_seqlen(seen + 1);
  }

 private:
  ModelCache& m_cache;
  OwnedTensor m_ids, m_logits;
  Graph m_graph;
};

/// The parts of a configuration that every mixer has, and whole models.
nb::dict config_dict(const LanguageModel& model) {
  const LanguageModelConfig& config = model.config();
  nb::dict result;
  result["model_type"] = config.model_type;
  result["vocab_size"] = config.vocab_size;
  result["d_model"] = config.d_model;
  result["n_layer"] = config.n_layer;
  result["norm_epsilon"] = config.norm_epsilon;
  result["rms_norm"] = config.rms_norm;
  result["residual_in_fp32"] = config.residual_in_fp32;
  result["tie_embeddings"] = config.tie_embeddings;
  result["bos_token_id"] = config.bos_token_id;
  result["pad_token_id"] = config.pad_token_id;
  result["eos_token_ids"] = nb::cast(config.eos_token_ids);
  std::visit(
      [&](const auto& mixer) {
        result["d_state"] = mixer.d_state;
        result["d_conv"] = mixer.d_conv;
        result["d_inner"] = mixer.d_inner;
        if constexpr (std::is_same_v<std::decay_t<decltype(mixer)>, Mamba2Config>) {
          result["headdim"] = mixer.headdim;
          result["ngroups"] = mixer.ngroups;
          result["chunk_size"] = mixer.chunk_size;
        } else {
          result["dt_rank"] = mixer.dt_rank;
        }
      },
      config.mixer);
  return result;
}

/// A result for the caller's array library; numpy has neither GPUs nor bfloat16.
nb::object hand_over(ExecContext& exec, OwnedTensor tensor, const std::string& library) {
  if (library == "numpy") {
    if (tensor->device() != Device::cpu()) tensor = copy_to(exec, tensor, Device::cpu());
    if (tensor->dtype() == DType::bfloat16) tensor = convert(tensor, DType::float32);
  }
  return to_python(std::move(tensor), library);
}

nb::tuple forward(const LanguageModel& model, const nb::object& input_ids, const nb::object& inputs_embeds,
                  const nb::object& attention_mask, const nb::object& labels, ModelCache* cache,
                  std::int64_t logits_to_keep, bool output_hidden_states, const std::string& library) {
  const Array ids = to_array(input_ids, "input_ids", false);
  const Array embeds = to_array(inputs_embeds, "inputs_embeds", false);
  const Array mask = to_array(attention_mask, "attention_mask", false);
  const Array targets = to_array(labels, "labels", false);
  ForwardInput input;
  input.input_ids = ids.tensor;
  input.inputs_embeds = embeds.tensor;
  input.attention_mask = mask.tensor;
  input.labels = targets.tensor;
  input.cache = cache;
  input.logits_to_keep = logits_to_keep;
  input.output_hidden_states = output_hidden_states;
  ExecContext& exec = context_on(model.device());
  ForwardOutput output;
  {
    nb::gil_scoped_release unlocked;
    output = model.forward(exec, input);
  }
  nb::list hidden_states;
  for (OwnedTensor& state : output.hidden_states)
    hidden_states.append(hand_over(exec, std::move(state), library));
  return nb::make_tuple(hand_over(exec, std::move(output.logits), library), output.loss,
                        nb::tuple(hidden_states));
}

nb::object step(const LanguageModel& model, const nb::object& ids, ModelCache& cache,
                const std::string& library) {
  const Array given = to_array(ids, "ids", false);
  OPHIS_REQUIRE(given.tensor && given.tensor.rank() == 1, "ids is ", given.tensor,
                ", but must be int64 (batch)");
  ExecContext& exec = context_on(model.device());
  OwnedTensor logits;
  {
    nb::gil_scoped_release unlocked;
    const Workspace::Scope scope(exec.workspace());
    logits = OwnedTensor(DType::float32, {given.tensor.extent(0), model.config().vocab_size}, model.device());
    model.step(exec, on_device(exec, given.tensor), cache, logits);
    exec.fence();
  }
  return hand_over(exec, std::move(logits), library);
}

/// The convolution's memory and the recurrent state of one layer, of which Python sees the memory itself.
nb::tuple layer_state(const nb::object& self, std::int64_t i) {
  const auto& cache = nb::cast<const ModelCache&>(self);
  OPHIS_REQUIRE(i >= 0 && i < cache.layers(), "layer is ", i, ", but must be 0 to ", cache.layers() - 1);
  const BlockState& state = cache.layer(i);
  const auto view = [&](const Tensor& tensor) {
    const bool numpy_can = tensor.device() == Device::cpu() && tensor.dtype() != DType::bfloat16;
    return to_python(tensor, self, numpy_can ? "numpy" : "");
  };
  return nb::make_tuple(view(state.conv()), view(state.ssm));
}

}  // namespace

void bind_model(nb::module_& module) {
  nb::class_<ModelCache>(
      module, "Cache",
      "What a model remembers of sequences: the states of all layers. Made by LM.make_cache.")
      .def_prop_ro("batch", &ModelCache::batch, "Sequences.")
      .def_prop_ro("seqlen", &ModelCache::seqlen, "Positions seen since the start or the last reset.")
      .def_prop_ro("nbytes", &ModelCache::bytes, "Bytes of all states.")
      .def("__len__", &ModelCache::layers)
      .def("layer", &layer_state, "i"_a,
           "The states of layer i, of which the arrays show the memory itself: the last inputs of the "
           "convolution\n"
           "(batch, conv_dim, d_conv - 1), and the recurrent state.");

  module.def("resolve_model", &resolve, "name"_a, "revision"_a = "", "tokenizer_only"_a = false,
             "progress"_a.none() = nb::none(),
             "The folder of a model by its name: a folder, or an id on the Hugging Face hub, in whose cache "
             "it is looked for and "
             "into which it is downloaded.");
  nb::class_<Checkpoint>(module, "Checkpoint")
      .def_static(
          "open", [](const std::string& folder) { return Checkpoint::open(folder); }, "folder"_a,
          nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("names", &Checkpoint::names)
      .def(
          "tensor",
          [](const nb::object& self, const std::string& name, const std::string& library) {
            return to_python(nb::cast<const Checkpoint&>(self).tensor(name), self, library);
          },
          "name"_a, "library"_a, "A view of the file, which must not be written to.");
  module.def("quantize", &quantize_folder, "folder"_a, "out"_a, "projections"_a.none(), "tables"_a.none(),
             "group_size"_a, "asymmetric"_a, "calibration_text"_a, "calibration_tokens"_a,
             "progress"_a.none(), "Writes a model with quantized weights to a folder that does not exist.");
  nb::class_<Stepper>(
      module, "Stepper",
      "Advances a cache: write ids (batch), run, read logits (batch, vocab_size). On a GPU on "
      "one stream, which the caller's work is on as well, and from one thread.")
      .def(nb::init<const LanguageModel&, ModelCache&, std::optional<std::uintptr_t>>(), "model"_a, "cache"_a,
           "stream"_a.none(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def(
          "ids",
          [](const nb::object& self, const std::string& library) {
            return to_python(nb::cast<const Stepper&>(self).ids(), self, library);
          },
          "library"_a)
      .def(
          "logits",
          [](const nb::object& self, const std::string& library) {
            return to_python(nb::cast<const Stepper&>(self).logits(), self, library);
          },
          "library"_a)
      .def("run", &Stepper::run, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<LanguageModel>(module, "LanguageModel")
      .def_static("load", &load_model, "folder"_a, "device"_a, "dtype"_a.none(), "projections"_a.none(),
                  "tables"_a.none(), "group_size"_a, "asymmetric"_a, "progress"_a.none())
      .def_static("random", &random_model, "name"_a, "device"_a, "dtype"_a, "seed"_a, "projections"_a.none(),
                  "tables"_a.none(), "group_size"_a, "asymmetric"_a)
      .def_static("from_parameters", &model_of_parameters, "config_json"_a, "parameters"_a, "device"_a,
                  "dtype"_a)
      .def_prop_ro("config", &config_dict)
      .def_prop_ro("dtype", [](const LanguageModel& self) { return to_string(self.dtype()); })
      .def_prop_ro("device", [](const LanguageModel& self) { return detail::concat(self.device()); })
      .def_prop_ro("step_bytes", &LanguageModel::step_bytes)
      .def(
          "make_cache",
          [](const LanguageModel& self, std::int64_t batch, const std::string& state_dtype) {
            return self.make_cache(batch, parse_dtype(state_dtype));
          },
          "batch"_a, "state_dtype"_a = "float32", nb::call_guard<nb::gil_scoped_release>())
      .def(
          "reset",
          [](const LanguageModel& self, ModelCache& cache) { cache.reset(context_on(self.device())); },
          "cache"_a)
      .def(
          "copy_cache",
          [](const LanguageModel& self, const ModelCache& from, ModelCache& to) {
            to.copy_from(context_on(self.device()), from);
          },
          "source"_a, "target"_a)
      .def(
          "save_cache",
          [](const LanguageModel& self, const ModelCache& cache, const std::string& path,
             const std::vector<TokenIds>& tokens) {
            save_cache(context_on(self.device()), path, self, cache, tokens);
          },
          "cache"_a, "path"_a, "tokens"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "load_cache",
          [](const LanguageModel& self, ModelCache& cache, const std::string& path) {
            return load_cache(context_on(self.device()), path, self, cache);
          },
          "cache"_a, "path"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("forward", &forward, "input_ids"_a.none(), "inputs_embeds"_a.none(), "attention_mask"_a.none(),
           "labels"_a.none(), "cache"_a.none(), "logits_to_keep"_a, "output_hidden_states"_a, "library"_a)
      .def("step", &step, "ids"_a, "cache"_a, "library"_a);
}

}  // namespace ophis::python
