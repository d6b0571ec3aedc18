// The CUDA kernel of norm_linear, for few rows.
#pragma once

#include "ops/norm_linear/norm_linear_impl.hpp"

namespace ophis::norm_linear_cuda {

const char* why_not(Device device, const NormLinearArgs& args);
void run(ExecContext& exec, const NormLinearArgs& args);

}  // namespace ophis::norm_linear_cuda
