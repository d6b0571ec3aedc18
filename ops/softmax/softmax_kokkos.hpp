// The portable kernels of softmax: every backend, every valid input. cross_entropy shares the row statistics.
//
// Rows are cut into blocks of a fixed size, so that a single long row keeps all threads busy and a row's bits
// depend on nothing but the row.
#pragma once

#include "ophis/core/simd_math.hpp"
#include "ophis/ops/softmax.hpp"
#include "ops/common/rows.hpp"

namespace ophis::softmax_kokkos {

/// Elements of a row that one item works on; they stay in the first-level cache between two passes.
inline constexpr std::int64_t block_size = 1024;

inline std::int64_t blocks_of(std::int64_t length) { return (length + block_size - 1) / block_size; }

/// Of some elements x: the largest, and the sum of exp(x - largest).
struct Statistics {
  float largest, sum;
};

/// One item: the statistics of one block of one row.
template <class T, int W>
struct BlockStatistics {
  RowShape shape;
  Rows x;
  Statistics* statistics;  // (rows, blocks)
  std::int64_t blocks;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const Row row = x[shape[item / blocks]];
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    Pack<W> largest(-infinity);
    for (std::int64_t c = begin; c < end; c += W) largest = max(elements(row, c, end), largest);
    const float m = reduce_max(largest);
    const Pack<W> shift(m == -infinity ? 0.0f : m);  // a block of -inf only: its sum is 0
    Pack<W> sum(0.0f);
    for (std::int64_t c = begin; c < end; c += W) sum += exp(elements(row, c, end) - shift);
    statistics[item] = {m, reduce_add(sum)};
  }

  KOKKOS_FUNCTION static Pack<W> elements(const Row& row, std::int64_t column, std::int64_t end) {
    const int count = lanes<W>(end - column);
    return first_lanes(row.load<T, W>(column, count), count, -std::numeric_limits<float>::infinity());
  }
};

/// The statistics of a row from those of its blocks.
KOKKOS_INLINE_FUNCTION Statistics combine(const Statistics* blocks, std::int64_t count) {
  Statistics row = blocks[0];
  for (std::int64_t i = 1; i < count; ++i) row.largest = Kokkos::max(row.largest, blocks[i].largest);
  row.sum = 0.0f;
  for (std::int64_t i = 0; i < count; ++i) {
    row.sum += blocks[i].sum * exp(Pack<1>(blocks[i].largest - row.largest)).v;
  }
  return row;
}

/// One item: the statistics of one row.
struct RowStatistics {
  const Statistics* of_blocks;  // (rows, blocks)
  Statistics* of_rows;          // (rows)
  std::int64_t blocks;

  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    of_rows[row] = combine(of_blocks + row * blocks, blocks);
  }
};

/// One item: one block of outputs.
template <class T, int W>
struct Write {
  RowShape shape;
  Rows x, out;
  const Statistics* statistics;  // (rows)
  std::int64_t blocks;
  bool log;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const RowIndex index = shape[item / blocks];
    const Row from = x[index], to = out[index];
    const Statistics row = statistics[item / blocks];
    const Pack<W> largest(row.largest), log_sum(Kokkos::log(row.sum)), factor(1.0f / row.sum);
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    for (std::int64_t c = begin; c < end; c += W) {
      const int count = lanes<W>(end - c);
      const Pack<W> shifted = from.load<T, W>(c, count) - largest;
      to.store<T>(c, count, log ? shifted - log_sum : exp(shifted) * factor);
    }
  }
};

/// Statistics of all blocks of all rows, in the workspace.
template <class T, class Space>
const Statistics* block_statistics(ExecContext& exec, const Space& space, const char* label,
                                   const Tensor& x) {
  const RowShape shape(x.shape());
  const std::int64_t blocks = blocks_of(shape.length());
  Statistics* const statistics = exec.workspace().take<Statistics>(shape.rows() * blocks);
  const BlockStatistics<T, pack_width<Space>> kernel{shape, Rows(x), statistics, blocks};
  for_each_element(space, label, shape.rows() * blocks, kernel);
  return statistics;
}

inline void forward(ExecContext& exec, const SoftmaxArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const RowShape shape(args.x.shape());
  const std::int64_t rows = shape.rows(), blocks = blocks_of(shape.length());
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const Statistics* const of_blocks = block_statistics<T>(exec, space, "ophis::softmax::blocks", args.x);
      Statistics* const of_rows = exec.workspace().take<Statistics>(rows);
      for_each_element(space, "ophis::softmax::rows", rows, RowStatistics{of_blocks, of_rows, blocks});
      const Write<T, W> write{shape, Rows(args.x), Rows(args.out), of_rows, blocks, args.log};
      for_each_element(space, "ophis::softmax::write", rows * blocks, write);
    });
  });
}

}  // namespace ophis::softmax_kokkos
