// argmax on NVIDIA GPUs: a block a row.
#pragma once

#include "ops/argmax/argmax_impl.hpp"

namespace ophis::argmax_cuda {

const char* why_not(Device device, const ArgmaxArgs& args);
void run(ExecContext& exec, const ArgmaxArgs& args);

}  // namespace ophis::argmax_cuda
