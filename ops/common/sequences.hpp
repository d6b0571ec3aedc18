// How kernels walk over sequences: a batch of equal length, or cu_seqlens in one packed row.
#pragma once

#include <cstdint>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// Where the i-th sequence of a call lies: row `batch` of the tensors, positions [begin, end).
struct Sequence {
  std::int64_t batch;
  std::int64_t begin;
  std::int64_t end;
};

/// Maps a sequence's number to its place; device-copyable.
class SequenceMap {
 public:
  SequenceMap(const Tensor& cu_seqlens, std::int64_t seqlen)
      : m_cu_seqlens(cu_seqlens ? cu_seqlens.data<std::int32_t>() : nullptr), m_seqlen(seqlen) {}

  KOKKOS_INLINE_FUNCTION Sequence operator[](std::int64_t i) const {
    if (m_cu_seqlens == nullptr) return {i, 0, m_seqlen};
    return {0, m_cu_seqlens[i], m_cu_seqlens[i + 1]};
  }

 private:
  const std::int32_t* m_cu_seqlens;
  std::int64_t m_seqlen;
};

}  // namespace ophis
