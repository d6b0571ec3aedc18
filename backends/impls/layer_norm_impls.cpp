#include <array>

#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/layer_norm/layer_norm_kokkos.hpp"

namespace ophis {

std::span<const Implementation<LayerNormArgs>> layer_norm_impls() {
  static constexpr std::array list{
      Implementation<LayerNormArgs>{"kokkos", takes_everything, layer_norm_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
