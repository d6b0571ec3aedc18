#include "ops/common/check.hpp"

#include "ophis/core/indices.hpp"

namespace ophis {

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
  require_indices(detail::concat(m_op, ": ", name), tensor, end, also);
}

}  // namespace ophis
