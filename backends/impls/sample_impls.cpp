#include <array>

#include "backends/cuda/sample_cuda.hpp"
#include "backends/impls/portable.hpp"
#include "ops/sample/sample_impl.hpp"
#include "ops/sample/sample_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SampleArgs>> sample_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<SampleArgs>{"cuda", sample_cuda::why_not, sample_cuda::run},
#endif
        OPHIS_PORTABLE(SampleArgs, "kokkos", takes_everything, sample_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
