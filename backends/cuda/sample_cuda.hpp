// sample on NVIDIA GPUs: a cluster of blocks a row, which keeps it in shared memory.
#pragma once

#include "ops/sample/sample_impl.hpp"

namespace ophis::sample_cuda {

const char* why_not(Device device, const SampleArgs& args);
void run(ExecContext& exec, const SampleArgs& args);

}  // namespace ophis::sample_cuda
