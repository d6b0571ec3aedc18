// The portable kernel of cross_entropy: every backend, every valid input. The logits are read from memory
// once.
#pragma once

#include "ophis/ops/cross_entropy.hpp"
#include "ops/softmax/softmax_kokkos.hpp"

namespace ophis::cross_entropy_kokkos {

/// One item: the loss of one row.
template <class T>
struct Loss {
  RowShape shape;  // of logits
  Rows logits, labels, losses;
  const softmax_kokkos::Statistics* of_blocks;  // (rows, blocks)
  std::int64_t blocks, ignore_index;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const RowIndex index = shape[item];
    const std::int64_t label = *labels[index].template at<std::int64_t>(0);
    float loss = 0.0f;
    if (label != ignore_index) {
      const softmax_kokkos::Statistics row =
          softmax_kokkos::combine(of_blocks + item * blocks, blocks, group);
      const float logit = static_cast<float>(*logits[index].template at<T>(label));
      loss = (row.largest - logit) + Kokkos::log(row.sum);
    }
    if (group.rank() == 0) *losses[index].template at<float>(0) = loss;
  }
};

inline void forward(ExecContext& exec, const CrossEntropyArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const RowShape shape(args.logits.shape());
  const int axes = args.labels.rank();
  dispatch_compute_dtype(args.logits.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      const Loss<T> loss{
          shape,
          Rows(args.logits),
          Rows(args.labels, axes),
          Rows(args.losses, axes),
          softmax_kokkos::block_statistics<T>(exec, space, "ophis::cross_entropy::blocks", args.logits),
          softmax_kokkos::blocks_of(shape.length()),
          args.ignore_index};
      for_each_group<softmax_kokkos::group_size>(space, "ophis::cross_entropy::rows", shape.rows(), loss);
    });
  });
}

}  // namespace ophis::cross_entropy_kokkos
