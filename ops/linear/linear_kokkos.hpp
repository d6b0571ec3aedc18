// The portable kernel of linear: dot products. It reads the weight once for every few rows, which is what a
// step of generation needs; large products are better served by a GEMM library.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"
#include "ops/common/strided.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_kokkos {

/// One item: block_rows x block_outs outputs.
template <class T, class Out, int W>
struct Kernel {
  static constexpr bool on_gpu = W == 1;  // there a thread takes one output
  static constexpr int block_rows =
      on_gpu ? 1 : 16;  // of x, so that a block of weight rows is used while in cache
  static constexpr int block_outs = on_gpu ? 1 : 32;
  static constexpr int unroll = 8;  // weight rows read side by side

  const T* x;
  const T* weight;
  const float* bias;  // or nullptr
  Out* out;
  LinearShape shape;
  std::int64_t row_blocks;
  bool accumulate;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t row_begin = item % row_blocks * block_rows;
    const std::int64_t out_begin = item / row_blocks * block_outs;
    const std::int64_t row_end = Kokkos::min<std::int64_t>(shape.rows, row_begin + block_rows);
    const std::int64_t out_end = Kokkos::min<std::int64_t>(shape.out_features, out_begin + block_outs);
    std::int64_t o = out_begin;
    for (; o + unroll <= out_end; o += unroll) {
      for (std::int64_t r = row_begin; r < row_end; ++r) dots<unroll>(r, o);
    }
    for (; o < out_end; ++o) {
      for (std::int64_t r = row_begin; r < row_end; ++r) dots<1>(r, o);
    }
  }

  /// N neighbouring outputs of one row.
  template <int N>
  KOKKOS_FUNCTION void dots(std::int64_t r, std::int64_t o) const {
    const T* const row = x + r * shape.ldx;
    const T* const first = weight + o * shape.ldw;
    Pack<W> sums[N];
    for (int j = 0; j < N; ++j) sums[j] = Pack<W>(0.0f);
    std::int64_t i = 0;
    for (; i + W <= shape.in_features; i += W) {
      const Pack<W> value = load<W>(row + i);
      for (int j = 0; j < N; ++j) {
        const T* const from = first + j * shape.ldw + i;
        prefetch<W>(
            from + N * shape.ldw);  // the next rows: theirs are short streams that the hardware sees too late
        sums[j] = fma(value, load<W>(from), sums[j]);
      }
    }
    if (const int rest = static_cast<int>(shape.in_features - i); rest > 0) {
      const Pack<W> value = load<W>(row + i, 1, rest);
      for (int j = 0; j < N; ++j) sums[j] = fma(value, load<W>(first + j * shape.ldw + i, 1, rest), sums[j]);
    }
    for (int j = 0; j < N; ++j) {
      const float sum = reduce_add(sums[j]) + (bias ? bias[o + j] : 0.0f);
      Out& to = out[r * shape.ldout + o + j];
      to = Out(accumulate ? static_cast<float>(to) + sum : sum);
    }
  }
};

inline void run(ExecContext& exec, const LinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor bias = as_dense_float32(exec, args.bias);
  const LinearShape shape = linear_shape(args);
  const auto launch = [&]<class T, class Out>(std::type_identity<T>, std::type_identity<Out>) {
    with_exec_space(exec, [&](const auto& space) {
      using K = Kernel<T, Out, pack_width<std::remove_cvref_t<decltype(space)>>>;
      const std::int64_t row_blocks = (shape.rows + K::block_rows - 1) / K::block_rows;
      const std::int64_t out_blocks = (shape.out_features + K::block_outs - 1) / K::block_outs;
      const K kernel{args.x.data<T>(),
                     args.weight.data<T>(),
                     bias ? bias.data<float>() : nullptr,
                     args.out.data<Out>(),
                     shape,
                     row_blocks,
                     args.accumulate};
      for_each_item(space, "ophis::linear", row_blocks * out_blocks, kernel);
    });
  };
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T> type) {
    if (args.out.dtype() == args.x.dtype())
      launch(type, type);
    else
      launch(type, std::type_identity<float>{});
  });
}

}  // namespace ophis::linear_kokkos
