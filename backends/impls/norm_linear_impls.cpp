#include <array>

#include "ops/norm_linear/norm_linear_impl.hpp"

namespace ophis {

std::span<const Implementation<NormLinearArgs>> norm_linear_impls() {
  static constexpr std::array list{
      Implementation<NormLinearArgs>{"kokkos", takes_everything, norm_linear_composed, true},
  };
  return list;
}

}  // namespace ophis
