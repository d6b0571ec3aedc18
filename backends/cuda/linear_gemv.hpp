// Products with few rows on NVIDIA GPUs: bound by reading the weight once, as in a step of generation.
#pragma once

#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_gemv {

const char* why_not(Device device, const LinearArgs& args);
void run(ExecContext& exec, const LinearArgs& args);

}  // namespace ophis::linear_gemv
