// Products of few rows with a weight of codes on NVIDIA GPUs: bound by reading the codes once.
#pragma once

#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::quantized_linear_cuda {

const char* why_not(Device device, const QuantizedLinearArgs& args);
void run(ExecContext& exec, const QuantizedLinearArgs& args);

}  // namespace ophis::quantized_linear_cuda
