// The portable kernels of argmax: every backend, every valid input. Rows are cut into blocks, so that a
// single long row keeps all threads busy.
#pragma once

#include <limits>

#include "ophis/ops/argmax.hpp"
#include "ops/common/rows.hpp"

namespace ophis::argmax_kokkos {

/// Elements of a row that one item works on.
inline constexpr std::int64_t block_size = 1024;

/// Lane-wise the larger; NaN if either is.
template <int W>
KOKKOS_INLINE_FUNCTION Pack<W> larger(Pack<W> a, Pack<W> b) {
  const Pack<W> larger_or_b(a.v > b.v ? a.v : b.v);
  return Pack<W>(a.v != a.v ? a.v : larger_or_b.v);
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

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    const Row row = x[shape[item / blocks]];
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    Pack<W> of_lanes(lowest);
    for (std::int64_t c = begin; c < end; c += W) {
      const int count = lanes<W>(end - c);
      of_lanes = larger(of_lanes, first_lanes(row.load<T, W>(c, count), count, lowest));
    }
    Pack<1> of_block(lowest);
    for (int i = 0; i < W; ++i) of_block = larger(of_block, Pack<1>(of_lanes.lane(i)));
    largest[item] = of_block.v;
  }
};

/// One item: the position in one row, looked for in the first block that holds the row's largest element.
template <class T>
struct Position {
  RowShape shape;
  Rows x, out;
  const float* largest;  // (rows, blocks)
  std::int64_t blocks;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const RowIndex index = shape[item];
    const Row row = x[index];
    const float* const of_blocks = largest + item * blocks;
    Pack<1> of_row(of_blocks[0]);
    for (std::int64_t i = 1; i < blocks; ++i) of_row = larger(of_row, Pack<1>(of_blocks[i]));
    std::int64_t block = 0;
    while (!is_largest(of_blocks[block], of_row.v)) ++block;
    std::int64_t column = block * block_size;
    while (!is_largest(static_cast<float>(*row.at<T>(column)), of_row.v)) ++column;
    *out[index].template at<std::int64_t>(0) = column;
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
      for_each_element(space, "ophis::argmax::blocks", rows * blocks, block_largest);
      const Position<T> position{shape, Rows(args.x), Rows(args.out, args.out.rank()), largest, blocks};
      for_each_element(space, "ophis::argmax::rows", rows, position);
    });
  });
}

}  // namespace ophis::argmax_kokkos
