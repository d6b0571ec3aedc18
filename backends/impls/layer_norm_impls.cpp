#include <array>

#include "backends/impls/portable.hpp"
#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/layer_norm/layer_norm_kokkos.hpp"

namespace ophis {

std::span<const Implementation<LayerNormArgs>> layer_norm_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(LayerNormArgs, "kokkos", takes_everything, layer_norm_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
