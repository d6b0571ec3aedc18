// quantized_linear of few rows on CPUs with AVX-512 VNNI.
#pragma once

#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::quantized_linear_vnni {

const char* why_not(Device device, const QuantizedLinearArgs& args);
void run(ExecContext& exec, const QuantizedLinearArgs& args);

}  // namespace ophis::quantized_linear_vnni
