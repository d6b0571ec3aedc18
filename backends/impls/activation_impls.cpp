#include <array>

#include "ops/activation/activation_impl.hpp"
#include "ops/activation/activation_kokkos.hpp"

namespace ophis {

std::span<const Implementation<ActivationArgs>> activation_impls() {
  static constexpr std::array list{
      Implementation<ActivationArgs>{"kokkos", takes_everything, activation_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
