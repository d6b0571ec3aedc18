// The list of implementations, defined in backends/impls, and the reference. The checks, the kernel and the
// reference are rms_norm's, with the mean subtracted.
#pragma once

#include <span>

#include "ophis/ops/layer_norm.hpp"
#include "ophis/ops/rms_norm.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<LayerNormArgs>> layer_norm_impls();

/// The definition, in double, one row after the other, on host tensors of any float dtype.
void layer_norm_reference(const LayerNormArgs& args);

/// The arguments that both norms have.
inline RmsNormArgs as_rms_norm(const LayerNormArgs& args) {
  RmsNormArgs same;
  same.x = args.x;
  same.weight = args.weight;
  same.bias = args.bias;
  same.residual = args.residual;
  same.eps = args.eps;
  same.residual_out = args.residual_out;
  same.out = args.out;
  return same;
}

}  // namespace ophis
