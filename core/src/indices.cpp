#include "ophis/core/indices.hpp"

namespace ophis {
namespace {

/// The index at a position in row-major order.
Dims index_of_position(const Dims& shape, std::int64_t position) {
  Dims index = shape;
  for (int axis = shape.size() - 1; axis >= 0; --axis) {
    index[axis] = position % shape[axis];
    position /= shape[axis];
  }
  return index;
}

std::int64_t integer_at(const Tensor& tensor, const Dims& index) {
  std::int64_t offset = 0;
  for (int axis = 0; axis < index.size(); ++axis) offset += index[axis] * tensor.stride(axis);
  return tensor.dtype() == DType::int32 ? tensor.data<std::int32_t>()[offset]
                                        : tensor.data<std::int64_t>()[offset];
}

}  // namespace

void require_indices(std::string_view what, const Tensor& tensor, std::int64_t end,
                     std::optional<std::int64_t> also) {
  OPHIS_REQUIRE(tensor.dtype() == DType::int32 || tensor.dtype() == DType::int64, what, " is ",
                tensor.dtype(), ", but must be int32 or int64");
  if (tensor.device() != Device::cpu()) return;
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const Dims index = index_of_position(tensor.shape(), i);
    const std::int64_t value = integer_at(tensor, index);
    OPHIS_REQUIRE((value >= 0 && value < end) || value == also, what, " holds ", value, " at ", index,
                  ", but must hold values from 0 to ", end - 1,
                  also ? detail::concat(", or ", *also) : std::string());
  }
}

}  // namespace ophis
