#include <array>

#include "backends/impls/portable.hpp"
#include "ops/embedding/embedding_impl.hpp"
#include "ops/embedding/embedding_kokkos.hpp"

namespace ophis {

std::span<const Implementation<EmbeddingArgs>> embedding_impls() {
  static constexpr std::array list{
      OPHIS_PORTABLE(EmbeddingArgs, "kokkos", takes_everything, embedding_kokkos::forward, false),
  };
  return list;
}

}  // namespace ophis
