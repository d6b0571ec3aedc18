// The portable kernel of ssd_state_update: every backend, every valid input.
#pragma once

#include "ophis/ops/ssd_scan.hpp"
#include "ops/common/state_dtype.hpp"
#include "ops/ssd_scan/ssd_parameters.hpp"

namespace ophis::ssd_scan_kokkos {

/// One item: one step of rows_per_item elements p of one head. Lanes, and a GPU's threads, run along dstate.
template <class T, class S, int W>
struct Update {
  Strided<S, 4> state;
  Strided<T, 3> x, B, C, z, out;
  Strided<T, 2> dt;
  const float* A;
  TimeStep time_step;
  Skip skip;
  std::int64_t nheads, headdim, dstate, heads_per_group, blocks;

  static constexpr int rows_abreast = W == 1 ? 4 : 8;
  static constexpr int rows_per_item = W == 1 ? rows_abreast : 16;
  static constexpr int group_size = 64;  // threads of a GPU for an item

  template <class Threads = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Threads& threads = {}) const {
    const std::int64_t begin = item % blocks * rows_per_item;
    const std::int64_t head = item / blocks % nheads;
    const std::int64_t b = item / blocks / nheads;
    const std::int64_t end = Kokkos::min<std::int64_t>(begin + rows_per_item, headdim);
    const Pack<1> step = time_step(load<1>(dt.at(b, head)), head);
    const Pack<1> decay = exp(step * Pack<1>(A[head]));
    std::int64_t p = begin;
    for (; p + rows_abreast <= end; p += rows_abreast)
      rows<rows_abreast>(b, head, p, step.v, decay.v, threads);
    for (; p < end; ++p) rows<1>(b, head, p, step.v, decay.v, threads);
  }

  /// R rows of the state, which share the loads of B and C.
  template <int R, class Threads>
  KOKKOS_FUNCTION void rows(std::int64_t b, std::int64_t head, std::int64_t p, float step, float decay,
                            const Threads& threads) const {
    const std::int64_t group = head / heads_per_group;
    Rows<R> rows;
    rows.B = B.at(b, group);
    rows.C = C.at(b, group);
    rows.decay = Pack<W>(decay);
    for (int r = 0; r < R; ++r) {
      rows.state[r] = state.at(b, head, p + r);
      rows.input[r] = Pack<W>(step * x(b, head, p + r));
      rows.sum[r] = Pack<W>(0.0f);
    }
    const std::int64_t lanes = threads.size() * W;
    std::int64_t n = threads.rank() * W;
    if (state.stride(3) == 1 && B.stride(2) == 1 && C.stride(2) == 1) {
      for (; n + W <= dstate; n += lanes) rows.advance(n, W, 1, 1, 1);
    }
    for (; n < dstate; n += lanes) {
      const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, dstate - n));
      rows.advance(n, count, state.stride(3), B.stride(2), C.stride(2));
    }
    for (int r = 0; r < R; ++r) {
      Pack<1> y(threads.sum(reduce_add(rows.sum[r])));
      if (threads.rank() != 0) continue;
      y = fma(skip.at<1>(head, p + r, 1), load<1>(x.at(b, head, p + r)), y);
      if (z) y *= silu(load<1>(z.at(b, head, p + r)));
      store(out.at(b, head, p + r), y);
    }
  }

  template <int R>
  struct Rows {
    S* state[R];
    const T *B, *C;
    Pack<W> decay, input[R], sum[R];

    /// Elements n ... n + count - 1; inlined, so that constant strides and counts make plain vector loads.
    OPHIS_INLINE_FUNCTION void advance(std::int64_t n, int count, std::int64_t state_stride,
                                       std::int64_t B_stride, std::int64_t C_stride) {
      const Pack<W> b = load<W>(B + n * B_stride, B_stride, count);
      const Pack<W> c = load<W>(C + n * C_stride, C_stride, count);
      for (int r = 0; r < R; ++r) {
        S* const address = state[r] + n * state_stride;
        Pack<W> s = load<W>(address, state_stride, count);
        s = fma(decay, s, input[r] * b);
        store(address, state_stride, count, s);
        sum[r] = fma(c, s, sum[r]);
      }
    }
  };
};

inline void update(ExecContext& exec, const SsdStateUpdateArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = args.x.extent(0), nheads = args.x.extent(1), headdim = args.x.extent(2);
  const Tensor A = as_dense_float32(exec, args.A);
  const TimeStep time_step = make_time_step(exec, args);
  const Skip skip = make_skip(exec, args);
  dispatch_with_state(args.x.dtype(), args.state.dtype(),
                      [&]<class T, class S>(std::type_identity<T>, std::type_identity<S>) {
                        with_exec_space(exec, [&](const auto& space) {
                          using Kernel = Update<T, S, pack_width<std::remove_cvref_t<decltype(space)>>>;
                          const Kernel kernel{Strided<S, 4>(args.state),
                                              Strided<T, 3>(args.x),
                                              Strided<T, 3>(args.B),
                                              Strided<T, 3>(args.C),
                                              Strided<T, 3>(args.z),
                                              Strided<T, 3>(args.out),
                                              Strided<T, 2>(args.dt),
                                              A.data<float>(),
                                              time_step,
                                              skip,
                                              nheads,
                                              headdim,
                                              args.B.extent(2),
                                              nheads / args.B.extent(1),
                                              (headdim + Kernel::rows_per_item - 1) / Kernel::rows_per_item};
                          for_each_group<Kernel::group_size>(space, "ophis::ssd_state_update",
                                                             batch * nheads * kernel.blocks, kernel);
                        });
                      });
}

}  // namespace ophis::ssd_scan_kokkos
