#include <array>

#include "ops/rms_norm/rms_norm_impl.hpp"
#include "ops/rms_norm/rms_norm_kokkos.hpp"

namespace ophis {

std::span<const Implementation<RmsNormArgs>> rms_norm_impls() {
  static constexpr std::array list{
      Implementation<RmsNormArgs>{"kokkos", takes_everything, rms_norm_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
