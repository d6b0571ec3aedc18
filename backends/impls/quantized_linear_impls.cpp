#include <array>

#include "backends/cpu/quantized_linear_vnni.hpp"
#include "backends/cuda/quantized_linear_cuda.hpp"
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
                                            quantized_linear_vnni::run},
#endif
        Implementation<QuantizedLinearArgs>{"dequantized", why_not_dequantized, run_dequantized, true},
        Implementation<QuantizedLinearArgs>{"kokkos", takes_everything, run},
  };
  return list;
}

}  // namespace ophis
