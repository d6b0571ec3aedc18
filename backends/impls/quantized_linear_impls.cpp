#include <array>

#include "backends/cpu/quantized_linear_vnni.hpp"
#include "backends/cuda/quantized_linear_cuda.hpp"
#include "backends/impls/portable.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"
#include "ops/quantized_linear/quantized_linear_kokkos.hpp"

namespace ophis {

std::span<const Implementation<QuantizedLinearArgs>> quantized_linear_impls() {
  using namespace quantized_linear_kokkos;
  static constexpr std::array list {
#if OPHIS_HAS_CUDA
    Implementation<QuantizedLinearArgs>{"cuda_gemv", quantized_linear_cuda::why_not,
                                        quantized_linear_cuda::run},
#endif
#if OPHIS_HAS_X86_64
        Implementation<QuantizedLinearArgs>{"vnni", quantized_linear_vnni::why_not,
                                            quantized_linear_vnni::run, false, CpuIsa::avx512_vnni},
#endif
        OPHIS_PORTABLE(QuantizedLinearArgs, "dequantized", why_not_dequantized, run_dequantized, true),
        OPHIS_PORTABLE(QuantizedLinearArgs, "kokkos", takes_everything, run, false),
  };
  return list;
}

}  // namespace ophis
