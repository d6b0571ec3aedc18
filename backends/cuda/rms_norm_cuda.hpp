// Root-mean-square normalisation on NVIDIA GPUs: a block a row.
#pragma once

#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis::rms_norm_cuda {

const char* why_not(Device device, const RmsNormArgs& args);
void run(ExecContext& exec, const RmsNormArgs& args);

}  // namespace ophis::rms_norm_cuda
