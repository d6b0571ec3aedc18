// The lists of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/causal_conv1d.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<CausalConv1dArgs>> causal_conv1d_impls();
std::span<const Implementation<CausalConv1dUpdateArgs>> causal_conv1d_update_impls();

/// The definition, in double, one output after the other, on host tensors of any float dtype.
void causal_conv1d_reference(const CausalConv1dArgs& args);
void causal_conv1d_update_reference(const CausalConv1dUpdateArgs& args);

}  // namespace ophis
