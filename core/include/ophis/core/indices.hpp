// Tensors of indices.
#pragma once

#include <optional>
#include <string_view>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// Throws Error(invalid_argument) unless the tensor, `what` in the message ("embedding: ids"), is int32 or
/// int64 and its values lie in [0, end), or equal `also`. Values in a GPU's memory are not looked at.
void require_indices(std::string_view what, const Tensor& tensor, std::int64_t end,
                     std::optional<std::int64_t> also = {});

}  // namespace ophis
