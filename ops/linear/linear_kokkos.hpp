// The portable kernel of linear: dot products. It reads the weight once for every few rows, which is what a
// step of generation needs; large products are better served by a GEMM library.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"
#include "ops/common/strided.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis::linear_kokkos {

/// One item: block_rows x block_outs outputs. On a CPU a thread streams its rows of the weight from memory in
/// one go, each row once for all rows of x.
template <class T, class Out, int W>
struct Kernel {
  static constexpr bool on_gpu = W == 1;              // there a thread takes one output
  static constexpr int block_rows = on_gpu ? 1 : 16;  // of x, so that they stay in cache
  static constexpr int block_outs = on_gpu ? 1 : 8;
  static constexpr int chains = on_gpu ? 1 : 4;  // sums side by side
  /// Far enough ahead that memory answers in time, which the hardware's own prefetching is not.
  static constexpr int bytes_ahead = 8192, cache_line = 64;

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
    for (std::int64_t o = out_begin; o < out_end; ++o) {
      for (std::int64_t r = row_begin; r < row_end; ++r) {
        const float sum = dot(x + r * shape.ldx, weight + o * shape.ldw) + (bias ? bias[o] : 0.0f);
        Out& to = out[r * shape.ldout + o];
        to = Out(accumulate ? static_cast<float>(to) + sum : sum);
      }
    }
  }

  KOKKOS_FUNCTION float dot(const T* row, const T* weights) const {
    Pack<W> sums[chains];
    for (int c = 0; c < chains; ++c) sums[c] = Pack<W>(0.0f);
    constexpr int step = chains * W;
    std::int64_t i = 0;
    for (; i + step <= shape.in_features; i += step) {
      for (int byte = 0; byte < step * static_cast<int>(sizeof(T)); byte += cache_line)
        prefetch<W>(reinterpret_cast<const char*>(weights + i) + bytes_ahead + byte);
      for (int c = 0; c < chains; ++c)
        sums[c] = fma(load<W>(row + i + c * W), load<W>(weights + i + c * W), sums[c]);
    }
    for (; i < shape.in_features; i += W) {
      const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, shape.in_features - i));
      prefetch<W>(reinterpret_cast<const char*>(weights + i) + bytes_ahead);
      sums[0] = fma(load<W>(row + i, 1, count), load<W>(weights + i, 1, count), sums[0]);
    }
    for (int c = 1; c < chains; ++c) sums[0] += sums[c];
    return reduce_add(sums[0]);
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
      for_each_element(space, "ophis::linear", row_blocks * out_blocks, kernel);
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
