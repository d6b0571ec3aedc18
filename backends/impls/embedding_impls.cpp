#include <array>

#include "ops/embedding/embedding_impl.hpp"
#include "ops/embedding/embedding_kokkos.hpp"

namespace ophis {

std::span<const Implementation<EmbeddingArgs>> embedding_impls() {
  static constexpr std::array list{
      Implementation<EmbeddingArgs>{"kokkos", takes_everything, embedding_kokkos::forward},
  };
  return list;
}

}  // namespace ophis
