#include <array>

#include "ops/softmax/softmax_impl.hpp"
#include "ops/softmax/softmax_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SoftmaxArgs>> softmax_impls() {
  static constexpr std::array list{
      Implementation<SoftmaxArgs>{"kokkos", takes_everything, softmax_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
