#include <array>

#include "backends/cuda/causal_conv1d_cuda.hpp"
#include "backends/hip/causal_conv1d_hip.hpp"
#include "backends/impls/portable.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/causal_conv1d/causal_conv1d_kokkos.hpp"

namespace ophis {

std::span<const Implementation<CausalConv1dArgs>> causal_conv1d_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<CausalConv1dArgs>{"cuda", causal_conv1d_cuda::why_not, causal_conv1d_cuda::run},
#endif
#if OPHIS_HAS_HIP
        Implementation<CausalConv1dArgs>{"hip", causal_conv1d_hip::why_not, causal_conv1d_hip::run},
#endif
        OPHIS_PORTABLE(CausalConv1dArgs, "kokkos", takes_everything, causal_conv1d_kokkos::forward, false),
  };
  return list;
}

std::span<const Implementation<CausalConv1dUpdateArgs>> causal_conv1d_update_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<CausalConv1dUpdateArgs>{"cuda", causal_conv1d_update_cuda::why_not,
                                           causal_conv1d_update_cuda::run},
#endif
        OPHIS_PORTABLE(CausalConv1dUpdateArgs, "kokkos", takes_everything, causal_conv1d_kokkos::update,
                       false),
  };
  return list;
}

}  // namespace ophis
