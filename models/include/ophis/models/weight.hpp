// The matrices of a model that it multiplies with, dense or quantized.
#pragma once

#include "ophis/models/parameters.hpp"

namespace ophis {

/// A matrix (out, in).
struct Weight {
  std::string name;  ///< in the checkpoint, without ".weight"
  Parameter values;  ///< (out, in) of the model's dtype; or codes, as QuantizedLinearArgs has them
  Parameter scale;   ///< (out, groups) of a quantized one
  Parameter shift;   ///< (out, groups) float32 of a quantized one whose codes do not lie around their middle

  /// Whether its values are codes.
  bool is_quantized() const { return static_cast<bool>(scale); }
  /// Rows.
  std::int64_t out_features() const { return values.tensor.extent(0); }
  /// Of all its parts.
  std::size_t bytes() const { return values.tensor.bytes() + scale.tensor.bytes() + shift.tensor.bytes(); }
  /// Its first rows.
  Weight rows(std::int64_t count) const;
};

/// The weight of a layer `name` ("in_proj") in its place: quantized if the source holds it so (weight_packed
/// and weight_scale; int8 weight and weight_scale) or wants it so, else of `dtype`. Throws Error(not_found),
/// Error(corrupt_data) that names the parameter.
Weight require_weight(const ParameterSource& source, const std::string& name, const Dims& shape, DType dtype);

/// The same of the embedding or the head, of which the source may hold more rows than `shape` has.
Weight require_table(const ParameterSource& source, const std::string& name, const Dims& shape, DType dtype);

}  // namespace ophis
