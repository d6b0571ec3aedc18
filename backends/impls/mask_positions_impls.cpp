#include <array>

#include "ops/mask_positions/mask_positions_impl.hpp"
#include "ops/mask_positions/mask_positions_kokkos.hpp"

namespace ophis {

std::span<const Implementation<MaskPositionsArgs>> mask_positions_impls() {
  static constexpr std::array list{
      Implementation<MaskPositionsArgs>{"kokkos", takes_everything, mask_positions_kokkos::run},
  };
  return list;
}

}  // namespace ophis
