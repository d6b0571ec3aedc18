// The portable kernel of linear: dot products. It reads the weight once for every few rows, which is what a
// step of generation needs; large products are better served by a GEMM library.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"
#include "ops/common/strided.hpp"
#include "ops/linear/linear_impl.hpp"
#include "ops/linear/store_outputs.hpp"

namespace ophis::linear_kokkos {

/// The dot product of n elements of a row of x with a row of the weight, as lanes to be added up: on a GPU of
/// those elements that are the thread's of its group.
template <int W, class X, class T, class Group = LoneThread>
KOKKOS_FUNCTION Pack<W> dot(const X* row, const T* weights, std::int64_t n, const Group& group = {}) {
  constexpr int chains = W == 1 ? 1 : 4;  // sums side by side
  constexpr int step = chains * W;
  // Far enough ahead that memory answers in time, which the hardware's own prefetching is not.
  constexpr int bytes_ahead = 8192, cache_line = 64;
  Pack<W> sums[chains];
  for (int c = 0; c < chains; ++c) sums[c] = Pack<W>(0.0f);
  std::int64_t i = group.rank() * step;
  for (; i + step <= n; i += group.size() * step) {
    for (int byte = 0; byte < step * static_cast<int>(sizeof(T)); byte += cache_line)
      prefetch<W>(reinterpret_cast<const char*>(weights + i) + bytes_ahead + byte);
    for (int c = 0; c < chains; ++c)
      sums[c] = fma(load<W>(row + i + c * W), load<W>(weights + i + c * W), sums[c]);
  }
  for (; i < n; i += W) {
    const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, n - i));
    prefetch<W>(reinterpret_cast<const char*>(weights + i) + bytes_ahead);
    sums[0] = fma(load<W>(row + i, 1, count), load<W>(weights + i, 1, count), sums[0]);
  }
  for (int c = 1; c < chains; ++c) sums[0] += sums[c];
  return sums[0];
}

/// A row of x as float32. One item: a row.
template <class T, int W>
struct Widen {
  const T* from;
  float* to;
  std::int64_t stride, length;

  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    for (std::int64_t i = 0; i < length; i += W) {
      const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, length - i));
      store(to + row * length + i, 1, count, load<W>(from + row * stride + i, 1, count));
    }
  }
};

/// One item: block_rows x block_outs outputs. On a CPU a thread streams its rows of the weight from memory in
/// one go, each row once for all rows of x.
template <class T, class Out, int W>
struct Kernel {
  static constexpr bool on_gpu = W == 1;  // there a group of threads takes one output
  static constexpr int group_size = 64;
  static constexpr int block_rows = on_gpu ? 1 : 16;  // of x, so that they stay in cache
  static constexpr int block_outs = on_gpu ? 1 : 8;
  /// Every output reads x, so a CPU widens it once.
  using X = std::conditional_t<on_gpu, T, float>;

  const X* x;
  const T* weight;
  const float* bias;  // or nullptr
  Out* out;
  LinearShape shape;
  bool accumulate;

  KOKKOS_FUNCTION std::int64_t row_blocks() const { return (shape.rows + block_rows - 1) / block_rows; }
  std::int64_t items() const { return row_blocks() * ((shape.out_features + block_outs - 1) / block_outs); }

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const std::int64_t row = item % row_blocks() * block_rows, o = item / row_blocks() * block_outs;
    outputs(row, Kokkos::min<std::int64_t>(shape.rows, row + block_rows), o,
            Kokkos::min<std::int64_t>(shape.out_features, o + block_outs), group);
  }

  /// Outputs [out_begin, out_end) of rows [row_begin, row_end).
  template <class Group = LoneThread>
  KOKKOS_FUNCTION void outputs(std::int64_t row_begin, std::int64_t row_end, std::int64_t out_begin,
                               std::int64_t out_end, const Group& group = {}) const {
    for (std::int64_t o = out_begin; o < out_end; ++o) {
      for (std::int64_t r = row_begin; r < row_end; ++r) {
        const T* const weights = weight + o * shape.ldw;
        const Pack<W> lanes = dot<W>(x + r * shape.ldx, weights, shape.in_features, group);
        const Pack<1> sum(group.sum(reduce_add(lanes)) + (bias ? bias[o] : 0.0f));
        if (group.rank() == 0) store_outputs(out + r * shape.ldout + o, 1, sum, accumulate);
      }
    }
  }
};

/// The kernel's x, which goes to the workspace if it must be widened; `shape` is then that of the copy.
template <class K, class T, class Space>
const typename K::X* operand(ExecContext& exec, const Space& space, const T* x, LinearShape& shape) {
  if constexpr (std::is_same_v<typename K::X, T>) {
    return x;
  } else {
    float* const wide = exec.workspace().take<float>(shape.rows * shape.in_features);
    const Widen<T, pack_width<Space>> widen{x, wide, shape.ldx, shape.in_features};
    for_each_element(space, "ophis::linear::widen", shape.rows, widen);
    shape.ldx = shape.in_features;
    return wide;
  }
}

inline void run(ExecContext& exec, const LinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor bias = as_dense_float32(exec, args.bias);
  const auto launch = [&]<class T, class Out>(std::type_identity<T>, std::type_identity<Out>) {
    with_exec_space(exec, [&](const auto& space) {
      using K = Kernel<T, Out, pack_width<std::remove_cvref_t<decltype(space)>>>;
      LinearShape shape = linear_shape(args);
      const typename K::X* const x = operand<K>(exec, space, args.x.data<T>(), shape);
      const K kernel{x,     args.weight.data<T>(), bias ? bias.data<float>() : nullptr, args.out.data<Out>(),
                     shape, args.accumulate};
      for_each_group<K::group_size>(space, "ophis::linear", kernel.items(), kernel);
    });
  };
  dispatch_product_dtypes(args.x.dtype(), args.out.dtype(), launch);
}

}  // namespace ophis::linear_kokkos
