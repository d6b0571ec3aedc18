#include <array>

#include "backends/cuda/norm_linear_cuda.hpp"
#include "backends/impls/portable.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/norm_linear/norm_linear_kokkos.hpp"

namespace ophis {

std::span<const Implementation<NormLinearArgs>> norm_linear_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<NormLinearArgs>{"cuda_gemv", norm_linear_cuda::why_not, norm_linear_cuda::run, true},
#endif
        OPHIS_PORTABLE(NormLinearArgs, "fused", norm_linear_kokkos::why_not, norm_linear_kokkos::run, true),
        Implementation<NormLinearArgs>{"kokkos", takes_everything, norm_linear_composed, true},
  };
  return list;
}

}  // namespace ophis
