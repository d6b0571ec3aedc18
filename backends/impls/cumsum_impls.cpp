#include <array>

#include "ops/cumsum/cumsum_impl.hpp"
#include "ops/cumsum/cumsum_kokkos.hpp"

namespace ophis {

std::span<const Implementation<CumsumArgs>> cumsum_impls() {
  static constexpr std::array list{
      Implementation<CumsumArgs>{"kokkos", takes_everything, cumsum_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
