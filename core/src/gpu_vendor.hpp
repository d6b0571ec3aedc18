// What CUDA and HIP do not have in common, for gpu_runtime.cpp: names, errors, and how an architecture is
// told.
#pragma once

#include <array>
#include <string>

#include "core/src/gpu.hpp"
#include "ophis/core/error.hpp"
#include "ophis/core/gpu_runtime.hpp"
#if !defined(__HIP__)
#include "core/src/cuda_driver.hpp"
#endif

namespace ophis::gpu {

#if defined(__HIP__)

inline constexpr DeviceType vendor_type = DeviceType::hip;
inline constexpr const char* vendor = "HIP";
inline constexpr const char* architectures = "CMAKE_HIP_ARCHITECTURES=" OPHIS_GPU_ARCHITECTURES;
inline constexpr std::array unusable{hipErrorNoDevice, hipErrorInvalidDevice, hipErrorInsufficientDriver,
                                     hipErrorNoBinaryForGpu};
inline constexpr std::array failed_kernel{hipErrorIllegalAddress, hipErrorLaunchFailure, hipErrorAssert};
inline constexpr auto capability_major = hipDeviceAttributeComputeCapabilityMajor;
inline constexpr auto capability_minor = hipDeviceAttributeComputeCapabilityMinor;
inline constexpr auto multiprocessors = hipDeviceAttributeMultiprocessorCount;
inline constexpr auto shared_memory_per_block = hipDeviceAttributeMaxSharedMemoryPerBlock;
inline constexpr auto l2_bytes = hipDeviceAttributeL2CacheSize;

inline void prepare_runtime() {}

/// For a message: the architecture with its features, "gfx942:sramecc+:xnack-".
inline std::string describe_architecture(int index) {
  hipDeviceProp_t properties{};
  static_cast<void>(hipGetDeviceProperties(&properties, index));
  return properties.gcnArchName;
}

#else

inline constexpr DeviceType vendor_type = DeviceType::cuda;
inline constexpr const char* vendor = "CUDA";
inline constexpr const char* architectures = "CMAKE_CUDA_ARCHITECTURES=" OPHIS_GPU_ARCHITECTURES;
inline constexpr std::array unusable{cudaErrorNoDevice, cudaErrorInvalidDevice, cudaErrorInsufficientDriver,
                                     cudaErrorNoKernelImageForDevice, cudaErrorSystemDriverMismatch};
inline constexpr std::array failed_kernel{
    cudaErrorIllegalAddress,    cudaErrorLaunchFailure,      cudaErrorAssert,
    cudaErrorMisalignedAddress, cudaErrorIllegalInstruction, cudaErrorHardwareStackError};
inline constexpr auto capability_major = cudaDevAttrComputeCapabilityMajor;
inline constexpr auto capability_minor = cudaDevAttrComputeCapabilityMinor;
inline constexpr auto multiprocessors = cudaDevAttrMultiProcessorCount;
inline constexpr auto shared_memory_per_block = cudaDevAttrMaxSharedMemoryPerBlockOptin;
inline constexpr auto l2_bytes = cudaDevAttrL2CacheSize;

inline void prepare_runtime() { provide_driver_functions(); }

/// For a message: "compute capability 9.0".
inline std::string describe_architecture(int index) {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, capability_major, index);
  cudaDeviceGetAttribute(&minor, capability_minor, index);
  return detail::concat("compute capability ", major, '.', minor);
}

#endif

}  // namespace ophis::gpu
