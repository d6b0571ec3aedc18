#include <array>

#include "backends/cpu/linear_cpu.hpp"
#include "backends/cuda/linear_gemv.hpp"
#include "backends/gpu/linear_blaslt.hpp"
#include "backends/impls/portable.hpp"
#include "ops/linear/linear_impl.hpp"
#include "ops/linear/linear_kokkos.hpp"

namespace ophis {

std::span<const Implementation<LinearArgs>> linear_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<LinearArgs>{"cuda_gemv", linear_gemv::why_not, linear_gemv::run},
        Implementation<LinearArgs>{"cublaslt", linear_blaslt::why_not, linear_blaslt::run},
#endif
#if OPHIS_HAS_HIPBLASLT
        Implementation<LinearArgs>{"hipblaslt", linear_blaslt::why_not, linear_blaslt::run},
#endif
#if OPHIS_HAS_ONEDNN
        Implementation<LinearArgs>{"onednn", linear_cpu::why_not_onednn, linear_cpu::run_onednn},
#endif
        OPHIS_PORTABLE(LinearArgs, "eigen", linear_cpu::why_not_eigen, linear_cpu::run_eigen, false),
        OPHIS_PORTABLE(LinearArgs, "kokkos", takes_everything, linear_kokkos::run, false),
  };
  return list;
}

}  // namespace ophis
