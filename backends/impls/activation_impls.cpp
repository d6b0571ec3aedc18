#include <array>

#include "backends/impls/portable.hpp"
#include "ops/activation/activation_impl.hpp"
#include "ops/activation/activation_kokkos.hpp"

namespace ophis {

std::span<const Implementation<ActivationArgs>> activation_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(ActivationArgs, "kokkos", takes_everything, activation_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
