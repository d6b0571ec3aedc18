#include <array>

#include "backends/impls/portable.hpp"
#include "ops/mask_positions/mask_positions_impl.hpp"
#include "ops/mask_positions/mask_positions_kokkos.hpp"

namespace ophis {

std::span<const Implementation<MaskPositionsArgs>> mask_positions_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(MaskPositionsArgs, "kokkos", takes_everything, mask_positions_kokkos::run, false),
  };
  return list;
}

}  // namespace ophis
