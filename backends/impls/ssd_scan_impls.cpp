#include <array>

#include "ops/ssd_scan/ssd_scan_impl.hpp"
#include "ops/ssd_scan/ssd_scan_kokkos.hpp"
#include "ops/ssd_scan/ssd_state_update_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SsdScanArgs>> ssd_scan_impls() {
  static constexpr std::array list{
      Implementation<SsdScanArgs>{"kokkos", takes_everything, ssd_scan_kokkos::forward},
  };
  return list;
}

std::span<const Implementation<SsdStateUpdateArgs>> ssd_state_update_impls() {
  static constexpr std::array list{
      Implementation<SsdStateUpdateArgs>{"kokkos", takes_everything, ssd_scan_kokkos::update},
  };
  return list;
}

}  // namespace ophis
