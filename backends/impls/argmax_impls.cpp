#include <array>

#include "ops/argmax/argmax_impl.hpp"
#include "ops/argmax/argmax_kokkos.hpp"

namespace ophis {

std::span<const Implementation<ArgmaxArgs>> argmax_impls() {
  static constexpr std::array list{
      Implementation<ArgmaxArgs>{"kokkos", takes_everything, argmax_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
