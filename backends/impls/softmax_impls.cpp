#include <array>

#include "backends/impls/portable.hpp"
#include "ops/softmax/softmax_impl.hpp"
#include "ops/softmax/softmax_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SoftmaxArgs>> softmax_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(SoftmaxArgs, "kokkos", takes_everything, softmax_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
