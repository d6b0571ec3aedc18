// GEMM on GPUs through cuBLASLt or hipBLASLt.
#pragma once

#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_blaslt {

const char* why_not(Device device, const LinearArgs& args);
void run(ExecContext& exec, const LinearArgs& args);

}  // namespace ophis::linear_blaslt
