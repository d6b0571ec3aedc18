#include "backends/cuda/quantized_linear_cuda.hpp"

#include "backends/cuda/gemv_codes.cuh"

namespace ophis::quantized_linear_cuda {

const char* why_not(Device device, const QuantizedLinearArgs& args) {
  return cuda::gemv::why_not(device, args);
}

void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    cuda::gemv::run_quantized<T>("quantized_linear: gemv", exec, args, cuda::gemv::PlainOutput<T>{});
  });
}

}  // namespace ophis::quantized_linear_cuda
