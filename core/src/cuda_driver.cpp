#include "core/src/cuda_driver.hpp"

#include <cuda.h>
#include <cuda_runtime_api.h>

namespace ophis::gpu {

void provide_driver_functions() noexcept {}

namespace {

/// The functions as CUDA 9.2 has them: a later version of cuStreamGetCtx takes one argument more.
constexpr unsigned int version = 9020;

template <class Function, class... Arguments>
CUresult call_driver(const char* name, Arguments... arguments) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
  if (cudaGetDriverEntryPointByVersion(name, &entry, version, cudaEnableDefault, &found) != cudaSuccess ||
      entry == nullptr) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  return reinterpret_cast<Function*>(entry)(arguments...);
}

}  // namespace
}  // namespace ophis::gpu

#pragma GCC visibility push(hidden)
extern "C" {

CUresult cuCtxGetDevice(CUdevice* device) {
  return ophis::gpu::call_driver<decltype(cuCtxGetDevice)>("cuCtxGetDevice", device);
}

CUresult cuCtxPushCurrent(CUcontext context) {
  return ophis::gpu::call_driver<decltype(cuCtxPushCurrent)>("cuCtxPushCurrent", context);
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext* context) {
  return ophis::gpu::call_driver<decltype(cuStreamGetCtx)>("cuStreamGetCtx", stream, context);
}

}  // extern "C"
#pragma GCC visibility pop
