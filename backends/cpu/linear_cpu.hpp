// GEMM on the CPU through libraries: oneDNN where it was found, Eigen otherwise.
#pragma once

#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_cpu {

const char* why_not_eigen(Device device, const LinearArgs& args);
void run_eigen(ExecContext& exec, const LinearArgs& args);

const char* why_not_onednn(Device device, const LinearArgs& args);
void run_onednn(ExecContext& exec, const LinearArgs& args);

}  // namespace ophis::linear_cpu
