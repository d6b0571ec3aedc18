#include "backends/cuda/linear_gemv.hpp"

#include "backends/cuda/gemv_dense.cuh"

namespace ophis::linear_gemv {

const char* why_not(Device device, const LinearArgs& args) { return cuda::gemv::why_not(device, args); }

void run(ExecContext& exec, const LinearArgs& args) {
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    cuda::gemv::run_dense<T>("linear: gemv", exec, args, cuda::gemv::PlainOutput<T>{});
  });
}

}  // namespace ophis::linear_gemv
