#include "ophis/models/generation.hpp"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "interfaces/python/src/bindings.hpp"
#include "interfaces/python/src/context.hpp"

namespace nb = nanobind;

namespace ophis::python {
namespace {

/// Calls a Python function with each token or piece of text; an exception of its own, or Ctrl-C, ends the
/// generation.
template <class What>
std::function<bool(std::size_t, What)> callback(const nb::object& function) {
  return [&function](std::size_t sequence, What what) {
    nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    return function.is_none() || nb::cast<bool>(function(sequence, what));
  };
}

/// What generate() was told, by the names of Python's keywords.
GenerationOptions to_options(const nb::dict& given) {
  GenerationOptions options;
  std::size_t taken = 0;
  const auto take = [&](const char* name, auto& to) {
    PyObject* value = PyDict_GetItemString(given.ptr(), name);
    if (value == nullptr) return;
    ++taken;
    OPHIS_REQUIRE(nb::try_cast(nb::handle(value), to), "generate: ", name, " is ",
                  nb::cast<std::string>(nb::repr(nb::handle(value))),
                  ", which is not of the type that was expected");
  };
  SamplingOptions& sampling = options.sampling;
  take("max_new_tokens", options.max_new_tokens);
  take("temperature", sampling.temperature);
  take("top_k", sampling.top_k);
  take("top_p", sampling.top_p);
  take("min_p", sampling.min_p);
  take("repetition_penalty", sampling.repetition_penalty);
  take("presence_penalty", sampling.presence_penalty);
  take("frequency_penalty", sampling.frequency_penalty);
  take("seed", sampling.seed);
  take("num_return_sequences", options.num_return_sequences);
  take("logprobs", options.logprobs);
  take("top_logprobs", options.top_logprobs);
  take("stop", options.stop);
  take("eos_token_ids", options.eos_token_ids);
  take("history", options.history);
  std::optional<std::string> state_dtype;
  take("state_dtype", state_dtype);
  if (state_dtype) options.state_dtype = parse_dtype(*state_dtype);
  OPHIS_REQUIRE(taken == given.size(), "generate: an option has an unknown name");
  return options;
}

/// For each sequence and token a list of (id, logprob).
nb::list to_list(const GenerationResult& result) {
  nb::list sequences;
  for (const auto& sequence : result.top_logprobs) {
    nb::list places;
    for (const auto& tokens : sequence) {
      nb::list place;
      for (const TokenLogprob& token : tokens) place.append(nb::make_tuple(token.id, token.logprob));
      places.append(std::move(place));
    }
    sequences.append(std::move(places));
  }
  return sequences;
}

nb::dict to_dict(GenerationResult result) {
  nb::dict values;
  nb::list finished;
  for (const FinishReason reason : result.finished) finished.append(to_string(reason));
  values["ids"] = nb::cast(std::move(result.ids));
  values["texts"] = nb::cast(std::move(result.texts));
  values["finished"] = std::move(finished);
  values["logprobs"] = nb::cast(std::move(result.logprobs));
  values["top_logprobs"] = to_list(result);
  values["prompt_tokens"] = result.prompt_tokens;
  values["steps"] = result.steps;
  values["prefill_seconds"] = result.prefill_seconds;
  values["decode_seconds"] = result.decode_seconds;
  return values;
}

nb::dict generate_texts(const LanguageModel& model, const std::vector<TokenIds>& prompts,
                        const nb::dict& given, const Tokenizer* tokenizer, ModelCache* cache,
                        const nb::object& on_token, const nb::object& on_text) {
  GenerationOptions options = to_options(given);
  options.tokenizer = tokenizer;
  options.cache = cache;
  options.on_token = callback<std::int32_t>(on_token);
  if (!on_text.is_none()) options.on_text = callback<std::string_view>(on_text);
  GenerationResult result;
  {
    nb::gil_scoped_release unlocked;
    context_on(model.device()).fence();  // the states may still be on their way
    result = generate(model, own_context(model.device()), prompts, options);
  }
  return to_dict(std::move(result));
}

}  // namespace

void bind_generation(nb::module_& module) {
  using namespace nb::literals;
  module.def("generate", &generate_texts, "model"_a, "prompts"_a, "options"_a,
             "tokenizer"_a.none() = nb::none(), "cache"_a.none() = nb::none(),
             "on_token"_a.none() = nb::none(), "on_text"_a.none() = nb::none(),
             "Continues prompts of ids. `options` are those of LM.generate. The callbacks (sequence, what is "
             "new) stop it by "
             "returning False.");
}

}  // namespace ophis::python
