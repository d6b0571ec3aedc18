// The bridge from ExecContext to the CUDA runtime, under the name that CUDA's kernels use. Only in builds
// with BACKEND=cuda.
#pragma once

#include "ophis/core/gpu_runtime.hpp"

namespace ophis::cuda {

using gpu::check;
using gpu::check_launch;
using gpu::DeviceProperties;
using gpu::properties;
using gpu::stream;

}  // namespace ophis::cuda
