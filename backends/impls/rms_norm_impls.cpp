#include <array>

#include "backends/cuda/rms_norm_cuda.hpp"
#include "backends/impls/portable.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"
#include "ops/rms_norm/rms_norm_kokkos.hpp"

namespace ophis {

std::span<const Implementation<RmsNormArgs>> rms_norm_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<RmsNormArgs>{"cuda", rms_norm_cuda::why_not, rms_norm_cuda::run},
#endif
        OPHIS_PORTABLE(RmsNormArgs, "kokkos", takes_everything, rms_norm_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
