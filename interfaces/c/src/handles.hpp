// What stands behind the opaque handles.
#pragma once

#include <ophis.h>

#include <memory>
#include <vector>

#include "interfaces/c/src/tensor.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/tokenizer.hpp"

struct ophis_context {
  ophis::ExecContext exec;
};

struct ophis_tokenizer {
  ophis::Tokenizer tokenizer;
};

struct ophis_model {
  ophis::LanguageModel model;
};

struct ophis_cache {
  explicit ophis_cache(ophis::ModelCache states);

  ophis::ModelCache cache;
  std::vector<std::unique_ptr<ophis::c::TensorView>> conv, ssm;  // one a layer
};

struct ophis_output {
  explicit ophis_output(ophis::ForwardOutput result);

  ophis::ForwardOutput output;
  ophis::c::TensorView logits;
  std::vector<std::unique_ptr<ophis::c::TensorView>> hidden_states;
};
