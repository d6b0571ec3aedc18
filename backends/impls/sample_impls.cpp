#include <array>

#include "ops/sample/sample_impl.hpp"
#include "ops/sample/sample_kokkos.hpp"

namespace ophis {

std::span<const Implementation<SampleArgs>> sample_impls() {
  static constexpr std::array list{
      Implementation<SampleArgs>{"kokkos", takes_everything, sample_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
