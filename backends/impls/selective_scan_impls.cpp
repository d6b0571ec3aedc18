#include <array>

#include "ops/selective_scan/selective_scan_impl.hpp"
#include "ops/selective_scan/selective_scan_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SelectiveScanArgs>> selective_scan_impls() {
  static constexpr std::array list{
      Implementation<SelectiveScanArgs>{"kokkos", takes_everything, selective_scan_kokkos::scan},
  };
  return list;
}

std::span<const Implementation<SelectiveStateUpdateArgs>> selective_state_update_impls() {
  static constexpr std::array list{
      Implementation<SelectiveStateUpdateArgs>{"kokkos", takes_everything, selective_scan_kokkos::update},
  };
  return list;
}

}  // namespace ophis
