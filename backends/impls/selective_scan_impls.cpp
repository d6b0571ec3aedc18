#include <array>

#include "backends/cuda/selective_scan_cuda.hpp"
#include "backends/cuda/selective_state_update_cuda.hpp"
#include "backends/hip/selective_scan_hip.hpp"
#include "backends/impls/portable.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"
#include "ops/selective_scan/selective_scan_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SelectiveScanArgs>> selective_scan_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<SelectiveScanArgs>{"cuda", selective_scan_cuda::why_not, selective_scan_cuda::run},
#endif
#if OPHIS_HAS_HIP
        Implementation<SelectiveScanArgs>{"hip", selective_scan_hip::why_not, selective_scan_hip::run},
#endif
        OPHIS_PORTABLE(SelectiveScanArgs, "kokkos", takes_everything, selective_scan_kokkos::scan, false),
  };
  return list;
}

std::span<const Implementation<SelectiveStateUpdateArgs>> selective_state_update_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<SelectiveStateUpdateArgs>{"cuda", selective_state_update_cuda::why_not,
                                             selective_state_update_cuda::run},
#endif
        OPHIS_PORTABLE(SelectiveStateUpdateArgs, "kokkos", takes_everything, selective_scan_kokkos::update,
                       true),
  };
  return list;
}

}  // namespace ophis
