// The parts of the module besides the ops.
#pragma once

#include <nanobind/nanobind.h>

namespace ophis::python {

/// LanguageModel and ModelCache.
void bind_model(nanobind::module_& module);
/// generate.
void bind_generation(nanobind::module_& module);
/// Tokenizer and StreamDecoder.
void bind_tokenizer(nanobind::module_& module);
/// Makes each ophis::Error an exception of ophis.errors, by its code.
void bind_errors(nanobind::module_& module);

}  // namespace ophis::python
