#include <array>

#include "backends/impls/portable.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"
#include "ops/cross_entropy/cross_entropy_kokkos.hpp"

namespace ophis {

std::span<const Implementation<CrossEntropyArgs>> cross_entropy_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(CrossEntropyArgs, "kokkos", takes_everything, cross_entropy_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
