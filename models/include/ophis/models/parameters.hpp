// Named parameters, wherever they come from: a checkpoint, or an initialisation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ophis/core/buffer.hpp"

namespace ophis {

/// A tensor and what keeps its memory alive.
struct Parameter {
  Tensor tensor;
  std::shared_ptr<const void> owner;

  explicit operator bool() const { return static_cast<bool>(tensor); }
};

/// Looks a parameter up by its checkpoint name; an empty one if there is none.
using ParameterSource = std::function<Parameter(const std::string& name)>;

/// A source that looks names up behind a prefix, e.g. "backbone.layers.3.mixer.".
ParameterSource with_prefix(ParameterSource source, std::string prefix);

/// Parameters made in memory, by name.
using ParameterMap = std::map<std::string, Parameter>;
ParameterSource from_map(ParameterMap parameters);

/// A parameter that must exist with this shape; axes of extent 1 may be missing or extra (conv1d's (dim, 1,
/// width)). Throws Error(not_found) or Error(corrupt_data) that names it.
Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape);

/// The same, converted to `dtype` if it is not that already.
Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape,
                            DType dtype);

/// A dense copy of a host tensor in another compute dtype, rounded to nearest even. Reads any of float32,
/// bfloat16, float16 and float64.
OwnedTensor convert(const Tensor& tensor, DType dtype);

/// An owned tensor as a parameter.
Parameter own(OwnedTensor tensor);

}  // namespace ophis
