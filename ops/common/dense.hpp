// Parameters as kernels want them.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// A parameter as dense float32: itself where it is that already, else a copy in the workspace, valid until
/// the caller's Workspace::Scope ends. An absent parameter stays absent.
Tensor as_dense_float32(ExecContext& exec, const Tensor& parameter);

}  // namespace ophis
