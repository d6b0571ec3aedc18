// What the machine can do at best, and the means to measure it.
#pragma once

#include <cstdint>
#include <functional>

#include "bench/support/bench.hpp"
#include "ophis/core/buffer.hpp"

namespace ophis::bench {

/// Writes more memory than all caches hold, so that what ran before leaves nothing in them.
class CacheFlusher {
 public:
  explicit CacheFlusher(ExecContext& exec);
  void flush();
  /// Twice what the largest cache holds; flush fills it with ones.
  const Buffer& memory() const { return m_memory; }

 private:
  ExecContext& m_exec;
  Buffer m_memory;
};

/// A `linear` of (rows, in) with a weight (out, in).
struct GemmShape {
  std::int64_t rows, in, out;
};

/// GFLOP/s of the best of five repetitions.
double measure_gemm(ExecContext& exec, DType dtype, const GemmShape& shape);

/// Takes about a second. The GEMM floor is the widest product of mamba2-130m's blocks on 512 tokens, on a GPU
/// of mamba2-2.7b's on 2048.
Floors measure_floors(ExecContext& exec, const std::vector<DType>& dtypes);

}  // namespace ophis::bench
