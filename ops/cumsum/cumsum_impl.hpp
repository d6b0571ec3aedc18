// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/cumsum.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<CumsumArgs>> cumsum_impls();

/// The definition, in double, one output after the other, on host tensors; out is of a float dtype.
void cumsum_reference(const CumsumArgs& args);

}  // namespace ophis
