// The list of implementations, defined in backends/impls, the reference, and what layer_norm shares.
#pragma once

#include <span>

#include "ophis/ops/rms_norm.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<RmsNormArgs>> rms_norm_impls();

/// The definition, in double, one row after the other, on host tensors of any float dtype.
void rms_norm_reference(const RmsNormArgs& args);

/// The reference with the mean subtracted or not.
void norm_reference(const RmsNormArgs& args, bool subtract_mean);

/// The checks, in the name of an op.
void check_norm(const char* op, ExecContext& exec, const RmsNormArgs& args);

}  // namespace ophis
