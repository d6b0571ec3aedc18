// The portable kernels of softmax: every backend, every valid input. cross_entropy shares the row statistics.
//
// Rows are cut into blocks of a fixed size, so that a single long row keeps all threads busy and a row's bits
// depend on nothing but the row.
#pragma once

#include "ophis/core/simd_math.hpp"
#include "ophis/ops/softmax.hpp"
#include "ops/common/rows.hpp"

namespace ophis::softmax_kokkos {

/// Elements of a row that one item works on, on a GPU so many threads; they stay in the first-level cache
/// between two passes.
inline constexpr std::int64_t block_size = 1024;
inline constexpr int group_size = 128;

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

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const Row row = x[shape[item / blocks]];
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    Pack<W> largest(-infinity);
    const std::int64_t first = begin + group.rank() * W, step = group.size() * W;
    for (std::int64_t c = first; c < end; c += step) largest = max(elements(row, c, end), largest);
    const float m = group.max(reduce_max(largest));
    const Pack<W> shift(m == -infinity ? 0.0f : m);  // a block of -inf only: its sum is 0
    Pack<W> sum(0.0f);
    for (std::int64_t c = first; c < end; c += step) sum += exp(elements(row, c, end) - shift);
    const float of_block = group.sum(reduce_add(sum));
    if (group.rank() == 0) statistics[item] = {m, of_block};
  }

  KOKKOS_FUNCTION static Pack<W> elements(const Row& row, std::int64_t column, std::int64_t end) {
    const int count = lanes<W>(end - column);
    return first_lanes(row.load<T, W>(column, count), count, -std::numeric_limits<float>::infinity());
  }
};

/// The statistics of a row from those of its blocks.
template <class Group>
KOKKOS_INLINE_FUNCTION Statistics combine(const Statistics* blocks, std::int64_t count, const Group& group) {
  Statistics row = blocks[0];
  for (std::int64_t i = group.rank(); i < count; i += group.size())
    row.largest = Kokkos::max(row.largest, blocks[i].largest);
  row.largest = group.max(row.largest);
  row.sum = 0.0f;
  for (std::int64_t i = group.rank(); i < count; i += group.size())
    row.sum += blocks[i].sum * exp(Pack<1>(blocks[i].largest - row.largest)).v;
  row.sum = group.sum(row.sum);
  return row;
}

/// One item: the statistics of one row.
struct RowStatistics {
  const Statistics* of_blocks;  // (rows, blocks)
  Statistics* of_rows;          // (rows)
  std::int64_t blocks;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t row, const Group& group = {}) const {
    const Statistics combined = combine(of_blocks + row * blocks, blocks, group);
    if (group.rank() == 0) of_rows[row] = combined;
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

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const RowIndex index = shape[item / blocks];
    const Row from = x[index], to = out[index];
    const Statistics row = statistics[item / blocks];
    const Pack<W> largest(row.largest), log_sum(Kokkos::log(row.sum)), factor(1.0f / row.sum);
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    for (std::int64_t c = begin + group.rank() * W; c < end; c += group.size() * W) {
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
  for_each_group<group_size>(space, label, shape.rows() * blocks, kernel);
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
      const RowStatistics row_statistics{of_blocks, of_rows, blocks};
      for_each_group<group_size>(space, "ophis::softmax::rows", rows, row_statistics);
      const Write<T, W> write{shape, Rows(args.x), Rows(args.out), of_rows, blocks, args.log};
      for_each_group<group_size>(space, "ophis::softmax::write", rows * blocks, write);
    });
  });
}

}  // namespace ophis::softmax_kokkos
