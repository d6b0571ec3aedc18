#include <array>

#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/causal_conv1d/causal_conv1d_kokkos.hpp"

namespace ophis {

std::span<const Implementation<CausalConv1dArgs>> causal_conv1d_impls() {
  static constexpr std::array list{
      Implementation<CausalConv1dArgs>{"kokkos", takes_everything, causal_conv1d_kokkos::forward},
  };
  return list;
}

std::span<const Implementation<CausalConv1dUpdateArgs>> causal_conv1d_update_impls() {
  static constexpr std::array list{
      Implementation<CausalConv1dUpdateArgs>{"kokkos", takes_everything, causal_conv1d_kokkos::update},
  };
  return list;
}

}  // namespace ophis
