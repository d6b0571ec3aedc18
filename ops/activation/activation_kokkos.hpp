// The portable kernel of activation: every backend, every valid input.
#pragma once

#include "ophis/ops/activation.hpp"
#include "ops/activation/apply_activation.hpp"
#include "ops/common/rows.hpp"

namespace ophis::activation_kokkos {

/// Elements of a row that one item works on, on a GPU so many threads.
inline constexpr std::int64_t block_size = 1024;
inline constexpr int group_size = 128;

/// One item: one block of one row.
template <class T, int W>
struct Apply {
  RowShape shape;
  Rows x, out;
  std::int64_t blocks;
  Activation kind;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const RowIndex index = shape[item / blocks];
    const Row from = x[index], to = out[index];
    const std::int64_t begin = item % blocks * block_size;
    const std::int64_t end = Kokkos::min(begin + block_size, shape.length());
    for (std::int64_t c = begin + group.rank() * W; c < end; c += group.size() * W) {
      const int count = lanes<W>(end - c);
      to.store<T>(c, count, apply_activation(kind, from.load<T, W>(c, count)));
    }
  }
};

/// The same elements as rows: one row if both tensors are dense, else with an axis of x that is dense in
/// memory as the last.
inline ActivationArgs as_rows(ActivationArgs args) {
  if (args.x.is_contiguous() && args.out.is_contiguous()) {
    args.x = args.x.reshape({args.x.count()});
    args.out = args.out.reshape({args.out.count()});
    return args;
  }
  for (int axis = 0; axis < args.x.rank(); ++axis) {
    if (args.x.stride(-1) == 1 || args.x.stride(axis) != 1 || args.x.extent(axis) == 1) continue;
    args.x = args.x.transpose(axis, -1);
    args.out = args.out.transpose(axis, -1);
  }
  return args;
}

inline void forward(ExecContext& exec, const ActivationArgs& args) {
  if (args.x.count() == 0) return;
  const ActivationArgs rows = as_rows(args);
  const RowShape shape(rows.x.shape());
  const std::int64_t blocks = (shape.length() + block_size - 1) / block_size;
  dispatch_compute_dtype(rows.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const Apply<T, W> kernel{shape, Rows(rows.x), Rows(rows.out), blocks, rows.kind};
      for_each_group<group_size>(space, "ophis::activation", shape.rows() * blocks, kernel);
    });
  });
}

}  // namespace ophis::activation_kokkos
