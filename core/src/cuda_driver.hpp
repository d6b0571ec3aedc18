// Kokkos calls three functions of the CUDA driver's library. Linked to that library, a program would not
// start on a machine without a driver, even to use the CPU; so they are defined here, and look the real ones
// up when they are called.
#pragma once

namespace ophis::gpu {

/// Called by gpu_runtime.cpp so that a linker takes these definitions along from a static library.
void provide_driver_functions() noexcept;

}  // namespace ophis::gpu
