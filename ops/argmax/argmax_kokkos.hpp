// The portable kernels of argmax: every backend, every valid input. Rows are cut into blocks, so that a
// single long row keeps all threads busy.
#pragma once

#include <limits>

#include "ophis/ops/argmax.hpp"
#include "ops/common/ordered.hpp"
#include "ops/common/rows.hpp"

namespace ophis::argmax_kokkos {

/// Elements of a row that one item works on, on a GPU so many threads.
inline constexpr std::int64_t block_size = 1024;
inline constexpr int group_size = 256;

/// Lane-wise the larger; NaN if either is.
template <int W>
KOKKOS_INLINE_FUNCTION Pack<W> larger(Pack<W> a, Pack<W> b) {
  const Pack<W> larger_or_b(a.v > b.v ? a.v : b.v);
  return Pack<W>(a.v != a.v ? a.v : larger_or_b.v);
}

/// The larger of what all threads of a group have; NaN if one has it.
template <class Group>
KOKKOS_INLINE_FUNCTION float largest_of(const Group& group, float value) {
  return float_of(group.max(ordered(value)));
}

/// Whether an element is the largest of its row, given the largest.
KOKKOS_INLINE_FUNCTION bool is_largest(float value, float largest) {
  return value == largest || (value != value && largest != largest);
}

/// One item: the largest element of one block of one row, or NaN if there is one.
template <class T, int W>
struct BlockLargest {
  RowShape shape;
  Rows x;
  float* largest;  // (rows, blocks)
  std::int64_t blocks;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    const Row row = x[shape[item / blocks]];
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    Pack<W> of_lanes(lowest);
    for (std::int64_t c = begin + group.rank() * W; c < end; c += group.size() * W) {
      const int count = lanes<W>(end - c);
      of_lanes = larger(of_lanes, first_lanes(row.load<T, W>(c, count), count, lowest));
    }
    Pack<1> of_block(lowest);
    for (int i = 0; i < W; ++i) of_block = larger(of_block, Pack<1>(of_lanes.lane(i)));
    const float of_group = largest_of(group, of_block.v);
    if (group.rank() == 0) largest[item] = of_group;
  }
};

/// One item: the position in one row, looked for in the first block that holds the row's largest element.
template <class T>
struct Position {
  RowShape shape;
  Rows x, out;
  const float* largest;  // (rows, blocks)
  std::int64_t blocks;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const RowIndex index = shape[item];
    const Row row = x[index];
    const float* const of_blocks = largest + item * blocks;
    Pack<1> of_thread(of_blocks[0]);
    for (std::int64_t i = group.rank(); i < blocks; i += group.size())
      of_thread = larger(of_thread, Pack<1>(of_blocks[i]));
    const float of_row = largest_of(group, of_thread.v);
    const std::int64_t block =
        first(group, 0, blocks, [&](std::int64_t i) { return is_largest(of_blocks[i], of_row); });
    const std::int64_t column = first(group, block * block_size, shape.length(), [&](std::int64_t c) {
      return is_largest(static_cast<float>(*row.at<T>(c)), of_row);
    });
    if (group.rank() == 0) *out[index].template at<std::int64_t>(0) = column;
  }

  /// The first in [begin, end) that `is_sought`.
  template <class Group, class Predicate>
  KOKKOS_FUNCTION static std::int64_t first(const Group& group, std::int64_t begin, std::int64_t end,
                                            const Predicate& is_sought) {
    std::int64_t i = begin + group.rank();
    while (i < end && !is_sought(i)) i += group.size();
    return group.min(i);
  }
};

inline void forward(ExecContext& exec, const ArgmaxArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const RowShape shape(args.x.shape());
  const std::int64_t rows = shape.rows(), blocks = (shape.length() + block_size - 1) / block_size;
  float* const largest = exec.workspace().take<float>(rows * blocks);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const BlockLargest<T, W> block_largest{shape, Rows(args.x), largest, blocks};
      for_each_group<group_size>(space, "ophis::argmax::blocks", rows * blocks, block_largest);
      const Position<T> position{shape, Rows(args.x), Rows(args.out, args.out.rank()), largest, blocks};
      for_each_group<group_size>(space, "ophis::argmax::rows", rows, position);
    });
  });
}

}  // namespace ophis::argmax_kokkos
