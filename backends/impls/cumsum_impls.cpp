#include <array>

#include "backends/impls/portable.hpp"
#include "ops/cumsum/cumsum_impl.hpp"
#include "ops/cumsum/cumsum_kokkos.hpp"

namespace ophis {

std::span<const Implementation<CumsumArgs>> cumsum_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(CumsumArgs, "kokkos", takes_everything, cumsum_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
