// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/embedding.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<EmbeddingArgs>> embedding_impls();

/// The definition, one element after the other, on host tensors.
void embedding_reference(const EmbeddingArgs& args);

}  // namespace ophis
