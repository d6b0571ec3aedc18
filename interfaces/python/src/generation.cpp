#include "ophis/models/generation.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "interfaces/python/src/bindings.hpp"
#include "interfaces/python/src/context.hpp"

namespace nb = nanobind;

namespace ophis::python {
namespace {

/// Calls a Python function with each token; an exception of its own, or Ctrl-C, ends the generation.
class TokenCallback {
 public:
  explicit TokenCallback(nb::object function) : m_function(std::move(function)) {}

  bool operator()(std::size_t sequence, std::int32_t id) const {
    nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (m_function.is_none()) return true;
    return nb::cast<bool>(m_function(sequence, id));
  }

 private:
  nb::object m_function;
};

nb::dict to_dict(const GenerationResult& result) {
  nb::dict stats;
  stats["prompt_tokens"] = result.prompt_tokens;
  stats["steps"] = result.steps;
  stats["prefill_seconds"] = result.prefill_seconds;
  stats["decode_seconds"] = result.decode_seconds;
  return stats;
}

std::pair<std::vector<TokenIds>, nb::dict> generate_ids(
    const LanguageModel& model, const std::vector<TokenIds>& prompts, std::int64_t max_new_tokens,
    std::optional<std::vector<std::int64_t>> eos_token_ids, std::optional<std::string> state_dtype,
    nb::object on_token) {
  const TokenCallback callback(std::move(on_token));
  GenerationOptions options;
  options.max_new_tokens = max_new_tokens;
  options.eos_token_ids = std::move(eos_token_ids);
  if (state_dtype) options.state_dtype = parse_dtype(*state_dtype);
  options.on_token = [&](std::size_t sequence, std::int32_t id) { return callback(sequence, id); };
  GenerationResult result;
  {
    nb::gil_scoped_release unlocked;
    result = generate(model, context_on(model.device()), prompts, options);
  }
  nb::dict stats = to_dict(result);
  return {std::move(result.ids), std::move(stats)};
}

}  // namespace

void bind_generation(nb::module_& module) {
  using namespace nb::literals;
  module.def(
      "generate", &generate_ids, "model"_a, "prompts"_a, "max_new_tokens"_a,
      "eos_token_ids"_a.none() = nb::none(), "state_dtype"_a.none() = nb::none(),
      "on_token"_a.none() = nb::none(),
      "The new ids of each prompt, and what it took. `on_token(sequence, id)` stops it by returning False.");
}

}  // namespace ophis::python
