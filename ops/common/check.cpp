#include "ops/common/check.hpp"

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

std::int64_t ArgumentChecker::sequences(const Tensor& cu_seqlens, std::int64_t batch,
                                        std::int64_t seqlen) const {
  if (!cu_seqlens) return batch;
  OPHIS_REQUIRE(batch == 1, m_op, ": with cu_seqlens the batch must be 1, got ", batch);
  OPHIS_REQUIRE(cu_seqlens.rank() == 1 && cu_seqlens.extent(0) >= 2 && cu_seqlens.is_contiguous(), m_op,
                ": cu_seqlens is ", cu_seqlens, ", but must be contiguous with shape (nseq + 1)");
  activation("cu_seqlens", cu_seqlens, cu_seqlens.shape(), DType::int32);
  const std::int64_t nseq = cu_seqlens.extent(0) - 1;
  if (m_device.type == DeviceType::cpu) {
    const std::int32_t* const starts = cu_seqlens.data<std::int32_t>();
    OPHIS_REQUIRE(starts[0] == 0 && starts[nseq] == seqlen, m_op, ": cu_seqlens runs from ", starts[0],
                  " to ", starts[nseq], ", but must run from 0 to seqlen = ", seqlen);
    for (std::int64_t i = 0; i < nseq; ++i) {
      OPHIS_REQUIRE(starts[i] <= starts[i + 1], m_op, ": cu_seqlens falls from ", starts[i], " to ",
                    starts[i + 1], " at position ", i + 1);
    }
  }
  return nseq;
}

void ArgumentChecker::indices(const char* name, const Tensor& tensor, std::int64_t end,
                              std::optional<std::int64_t> also) const {
  OPHIS_REQUIRE(tensor.dtype() == DType::int32 || tensor.dtype() == DType::int64, m_op, ": ", name, " is ",
                tensor.dtype(), ", but must be int32 or int64");
  if (m_device.type != DeviceType::cpu) return;
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const Dims index = index_of_position(tensor.shape(), i);
    const std::int64_t value = integer_at(tensor, index);
    OPHIS_REQUIRE((value >= 0 && value < end) || value == also, m_op, ": ", name, " holds ", value, " at ",
                  index, ", but must hold values from 0 to ", end - 1,
                  also ? detail::concat(", or ", *also) : std::string());
  }
}

}  // namespace ophis
