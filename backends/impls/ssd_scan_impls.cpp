#include <array>

#include "backends/cpu/ssd_scan_bf16.hpp"
#include "backends/cuda/ssd_scan_cuda.hpp"
#include "backends/cuda/ssd_state_update_cuda.hpp"
#include "backends/hip/ssd_scan_mfma.hpp"
#include "backends/impls/portable.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"
#include "ops/ssd_scan/ssd_scan_kokkos.hpp"
#include "ops/ssd_scan/ssd_state_update_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SsdScanArgs>> ssd_scan_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<SsdScanArgs>{"cuda_sm90", ssd_scan_cuda::why_not_sm90, ssd_scan_cuda::run_sm90, true},
        Implementation<SsdScanArgs>{"cuda_sm80", ssd_scan_cuda::why_not_sm80, ssd_scan_cuda::run_sm80, true},
#endif
#if OPHIS_HAS_HIP
        Implementation<SsdScanArgs>{"mfma", ssd_scan_mfma::why_not, ssd_scan_mfma::run, true},
#endif
#if defined(OPHIS_HAS_AVX512_BF16)
        Implementation<SsdScanArgs>{"avx512_bf16", ssd_scan_bf16::why_not, ssd_scan_bf16::run, true,
                                    CpuIsa::avx512_bf16},
#elif OPHIS_CPU_DISPATCH && !defined(OPHIS_COMPILED_FOR)
    detail::portable<CpuIsa::avx512_bf16, SsdScanArgs, ssd_scan_bf16::run>("avx512_bf16",
                                                                           ssd_scan_bf16::why_not, true),
#endif
        OPHIS_PORTABLE(SsdScanArgs, "kokkos", takes_everything, ssd_scan_kokkos::forward, false),
  };
  return list;
}

std::span<const Implementation<SsdStateUpdateArgs>> ssd_state_update_impls() {
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<SsdStateUpdateArgs>{"cuda", ssd_state_update_cuda::why_not, ssd_state_update_cuda::run},
#endif
        OPHIS_PORTABLE(SsdStateUpdateArgs, "kokkos", takes_everything, ssd_scan_kokkos::update, false),
  };
  return list;
}

}  // namespace ophis
