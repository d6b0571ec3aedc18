// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/activation.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<ActivationArgs>> activation_impls();

/// The definition, in double, one element after the other, on host tensors of any float dtype.
void activation_reference(const ActivationArgs& args);
namespace reference {
double apply_activation(Activation kind, double x);
}  // namespace reference

}  // namespace ophis
