#include <array>

#include "backends/cuda/argmax_cuda.hpp"
#include "backends/impls/portable.hpp"
#include "ops/argmax/argmax_impl.hpp"
#include "ops/argmax/argmax_kokkos.hpp"

namespace ophis {

std::span<const Implementation<ArgmaxArgs>> argmax_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<ArgmaxArgs>{"cuda", argmax_cuda::why_not, argmax_cuda::run},
#endif
        OPHIS_PORTABLE(ArgmaxArgs, "kokkos", takes_everything, argmax_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
