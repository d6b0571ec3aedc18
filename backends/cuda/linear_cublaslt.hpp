// GEMM on NVIDIA GPUs through cuBLASLt.
#pragma once

#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_cublaslt {

const char* why_not(Device device, const LinearArgs& args);
void run(ExecContext& exec, const LinearArgs& args);

}  // namespace ophis::linear_cublaslt
