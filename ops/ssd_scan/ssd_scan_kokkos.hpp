// The portable kernels of ssd_scan: every backend, every valid input.
//
// Each sequence is cut into blocks of up to block_size positions, the chunks of the paper's section 6. With
// the state S at a block's start, a_t the sum of dt A from there up to position t, and positions s <= t of
// the block:
//
//     y_t = exp(a_t) C_t . S + sum_s (C_t . B_s) exp(a_t - a_s) dt_s x_s
//     S  <- exp(a_end) S + sum_s exp(a_end - a_s) dt_s x_s B_s
//
// C_t . B_s is the same for all heads of a group, so BlockRows computes it first; Scan does the rest, with
// lanes along headdim, one item after the other through time, its state in cache. What they multiply with is
// a type of its own, FloatProducts here.
#pragma once

#include "ophis/ops/ssd_scan.hpp"
#include "ops/common/sequences.hpp"
#include "ops/ssd_scan/ssd_parameters.hpp"

namespace ophis::ssd_scan_kokkos {

/// The most positions that are computed together.
inline constexpr int block_size = 16;

/// How sequences are cut into blocks: from the start of the sequence, and again from where seq_idx changes,
/// so that a sequence's bits do not depend on what lies before it.
struct Blocks {
  SequenceMap sequences;
  Strided<std::int32_t, 2> seq_idx;
  std::int64_t positions;  // 1 ... block_size

  /// The end of the block that starts at `begin`.
  KOKKOS_FUNCTION std::int64_t end(const Sequence& sequence, std::int64_t begin) const {
    const std::int64_t limit = Kokkos::min(sequence.end, begin + positions);
    if (!seq_idx) return limit;
    std::int64_t end = begin + 1;
    while (end < limit && !changes(sequence, end)) ++end;
    return end;
  }

  /// Whether the state starts again from zero at a position.
  KOKKOS_FUNCTION bool changes(const Sequence& sequence, std::int64_t at) const {
    return seq_idx && at > sequence.begin &&
           *seq_idx.at(sequence.batch, at) != *seq_idx.at(sequence.batch, at - 1);
  }
};

/// One item: for every position of a sequence, how far it is from its block's start.
struct MarkBlocks {
  Blocks blocks;
  std::int32_t* offsets;  // (batch, seqlen)
  std::int64_t seqlen;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const Sequence sequence = blocks.sequences[item];
    for (std::int64_t begin = sequence.begin; begin < sequence.end;) {
      const std::int64_t end = blocks.end(sequence, begin);
      std::int32_t* const to = offsets + sequence.batch * seqlen;
      for (std::int64_t l = begin; l < end; ++l) to[l] = static_cast<std::int32_t>(l - begin);
      begin = end;
    }
  }
};

/// The lanes of one position's inputs or outputs, or of one element n of the state.
template <int W, int packs>
struct PanelOf {
  Pack<W> lanes[packs];
};

/// What Scan multiplies with, in float32.
template <int W>
struct FloatProducts {
  /// Accumulators are kept in registers: `rows` times panel_packs packs, of 32 registers with AVX-512, 16
  /// with less. Two packs share each broadcast.
  static constexpr int panel_packs = W == 1 ? 1 : 2;
  static constexpr int panel_width = panel_packs * W;
  static constexpr int rows = W == 4 || W == 8 ? 4 : 8;

  using Panel = PanelOf<W, panel_packs>;
  /// [t][s] of a block: the weight of input s in output t, zero for s > t.
  using Mix = float[block_size][block_size];

  float *B, *C;  // (batch, seqlen, ngroups, dstate)
  std::int64_t ngroups, dstate;

  FloatProducts(Workspace& workspace, std::int64_t positions, std::int64_t groups, std::int64_t n)
      : ngroups(groups), dstate(n) {
    B = workspace.take<float>(positions * ngroups * dstate);
    C = workspace.take<float>(positions * ngroups * dstate);
  }

  /// W elements n of a row (position and group) of B and C. `next_b` is B of the block's next position or
  /// zero, for products that take the block's positions in pairs.
  KOKKOS_FUNCTION void keep(std::int64_t row, std::int64_t n, bool /*first_of_pair*/, Pack<W> b,
                            Pack<W> /*next_b*/, Pack<W> c) const {
    const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, dstate - n));
    store(B + row * dstate + n, 1, count, b);
    store(C + row * dstate + n, 1, count, c);
  }

  /// Floats of a panel's state, of which the first are (dstate, panel_width).
  KOKKOS_FUNCTION std::int64_t state_size() const { return dstate * panel_width; }
  /// What else the state holds, from those first.
  KOKKOS_FUNCTION void set_pairs(float* /*state*/) const {}

  /// Adds C_t . S to the sums of `rows` positions from t on, of `count` in the block that begins with `row`;
  /// those beyond are computed and not used.
  KOKKOS_FUNCTION void add_state(std::int64_t row, int t, int count, const float* state,
                                 Panel (&sums)[rows]) const {
    const float* c[rows];
    for (int r = 0; r < rows; ++r) c[r] = C + (row + Kokkos::min(t + r, count - 1) * ngroups) * dstate;
    for (std::int64_t n = 0; n < dstate; ++n) {
      Pack<W> s[panel_packs];
      for (int k = 0; k < panel_packs; ++k) s[k] = load<W>(state + n * panel_width + k * W);
      for (int r = 0; r < rows; ++r) {
        for (int k = 0; k < panel_packs; ++k)
          sums[r].lanes[k] = fma(Pack<W>(c[r][n]), s[k], sums[r].lanes[k]);
      }
    }
  }

  /// Adds the inputs [0, end) with their weights to the sums of `rows` positions from t on.
  KOKKOS_FUNCTION void add_inputs(const Mix& mix, int t, int end, const Panel* inputs,
                                  Panel (&sums)[rows]) const {
    for (int s = 0; s < end; ++s) {
      for (int r = 0; r < rows; ++r) {
        for (int k = 0; k < panel_packs; ++k)
          sums[r].lanes[k] = fma(Pack<W>(mix[t + r][s]), inputs[s].lanes[k], sums[r].lanes[k]);
      }
    }
  }

  /// The state to the end of the block: decay times it and the sum of to_end[s] times inputs[s] times B_s.
  KOKKOS_FUNCTION void advance(std::int64_t row, int count, float decay, const float* to_end,
                               const Panel* inputs, float* state) const {
    Panel weighted[block_size];
    for (int s = 0; s < count; ++s) {
      for (int k = 0; k < panel_packs; ++k) weighted[s].lanes[k] = inputs[s].lanes[k] * Pack<W>(to_end[s]);
    }
    std::int64_t n = 0;
    for (; n + rows <= dstate; n += rows) advance_some<rows>(row, n, count, decay, weighted, state);
    for (; n < dstate; ++n) advance_some<1>(row, n, count, decay, weighted, state);
  }

 private:
  template <int N>
  KOKKOS_FUNCTION void advance_some(std::int64_t row, std::int64_t begin, int count, float decay,
                                    const Panel* inputs, float* state) const {
    const float* b = B + row * dstate + begin;
    state += begin * panel_width;
    Pack<W> sum[N][panel_packs];
    for (int n = 0; n < N; ++n) {
      for (int k = 0; k < panel_packs; ++k)
        sum[n][k] = Pack<W>(decay) * load<W>(state + n * panel_width + k * W);
    }
    for (int s = 0; s < count; ++s, b += ngroups * dstate) {
      for (int n = 0; n < N; ++n) {
        for (int k = 0; k < panel_packs; ++k) sum[n][k] = fma(Pack<W>(b[n]), inputs[s].lanes[k], sum[n][k]);
      }
    }
    for (int n = 0; n < N; ++n) {
      for (int k = 0; k < panel_packs; ++k) store(state + n * panel_width + k * W, sum[n][k]);
    }
  }
};

/// One item: B and C of one position and group as Products wants them, and C_t . B_s for the positions s of
/// its block up to itself, zero beyond.
template <class T, int W, class Products>
struct BlockRows {
  Strided<T, 4> B, C;
  const std::int32_t* offsets;  // (batch, seqlen)
  Products kept;
  float* products;  // (batch, seqlen, ngroups, block_size)
  std::int64_t seqlen, ngroups, dstate;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t group = item % ngroups;
    const std::int64_t l = item / ngroups % seqlen;
    const std::int64_t b = item / ngroups / seqlen;
    const std::int64_t offset = offsets[b * seqlen + l];
    const bool is_last = l + 1 == seqlen || offsets[b * seqlen + l + 1] == 0;
    for (std::int64_t n = 0; n < dstate; n += W) {
      kept.keep(item, n, offset % 2 == 0, row(B, b, l, group, n),
                is_last ? Pack<W>(0.0f) : row(B, b, l + 1, group, n), row(C, b, l, group, n));
    }
    for (std::int64_t s = 0; s < block_size; ++s) {
      products[item * block_size + s] = s <= offset ? product(b, l, l - offset + s, group) : 0.0f;
    }
  }

  KOKKOS_FUNCTION Pack<W> row(const Strided<T, 4>& of, std::int64_t b, std::int64_t l, std::int64_t group,
                              std::int64_t n) const {
    const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, dstate - n));
    return load<W>(of.at(b, l, group, n), of.stride(3), count);
  }
  KOKKOS_FUNCTION float product(std::int64_t b, std::int64_t t, std::int64_t s, std::int64_t group) const {
    Pack<W> sum(0.0f);
    for (std::int64_t n = 0; n < dstate; n += W)
      sum = fma(row(C, b, t, group, n), row(B, b, s, group, n), sum);
    return reduce_add(sum);
  }
};

/// One item: a panel of headdim (panel_packs packs) of one head of one sequence, block after block.
template <class T, int W, class Space, class Products>
struct Scan {
  Strided<T, 4> x, z, out;
  Strided<T, 3> dt;
  Strided<float, 4> initial_states, final_states;
  Blocks blocks;
  TimeStep time_step;
  Skip skip;
  const float* A;
  Products kept;          // of BlockRows
  const float* products;  // of BlockRows
  float* states;          // (slots, kept.state_size())
  ScratchSlots<Space> slots;
  std::int64_t seqlen, nheads, headdim, ngroups, dstate, panels;

  using Panel = typename Products::Panel;
  static constexpr int panel_packs = Products::panel_packs;
  static constexpr int panel_width = Products::panel_width;

  /// The decays inside one block of `count` positions.
  struct Decays {
    alignas(64) float from_start[block_size];  // exp(a_t)
    alignas(64) typename Products::Mix mix;    // (C_t . B_s) exp(a_t - a_s) dt_s
    alignas(64) float to_end[block_size];      // exp(a_end - a_s) dt_s
  };

  /// Where an item is.
  struct Place {
    Sequence sequence;
    std::int64_t index, head, group, p;
    int lanes[panel_packs];  // of each pack, those below headdim
  };

  /// Pack k of a panel, at the positions of a block.
  struct Column {
    T* first;
    std::int64_t position_stride, lane_stride;
    int lanes;

    KOKKOS_FUNCTION Pack<W> load(int t) const {
      return ophis::load<W>(first + t * position_stride, lane_stride, lanes);
    }
    KOKKOS_FUNCTION void store(int t, Pack<W> value) const {
      ophis::store(first + t * position_stride, lane_stride, lanes, value);
    }
  };
  KOKKOS_FUNCTION static Column column(const Strided<T, 4>& of, const Place& at, std::int64_t begin, int k) {
    return {of.at(at.sequence.batch, begin, at.head, at.p + k * W), of.stride(1), of.stride(3), at.lanes[k]};
  }

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    Place at;
    at.p = item % panels * panel_width;
    at.head = item / panels % nheads;
    at.index = item / panels / nheads;
    at.group = at.head / (nheads / ngroups);
    at.sequence = blocks.sequences[at.index];
    for (int k = 0; k < panel_packs; ++k) {
      const std::int64_t left = headdim - at.p - k * W;
      at.lanes[k] = static_cast<int>(Kokkos::clamp<std::int64_t>(left, 0, W));
    }
    const std::int64_t slot = slots.acquire(item);
    float* const state = states + slot * kept.state_size();
    load_state(at, state);
    for (std::int64_t begin = at.sequence.begin; begin < at.sequence.end;) {
      const std::int64_t end = blocks.end(at.sequence, begin);
      if (blocks.changes(at.sequence, begin)) clear(state);
      block(at, begin, static_cast<int>(end - begin), state);
      begin = end;
    }
    if (final_states) store_state(at, state);
    slots.release(slot);
  }

  KOKKOS_FUNCTION void block(const Place& at, std::int64_t begin, int count, float* state) const {
    Decays decays;
    fill_decays(at, begin, count, decays);
    Panel inputs[block_size], outputs[block_size];
    for (int k = 0; k < panel_packs; ++k) {
      const Column from = column(x, at, begin, k);
      for (int t = 0; t < count; ++t) inputs[t].lanes[k] = from.load(t);
    }
    for (int t = count; t < block_size; ++t) inputs[t] = Panel{};
    const std::int64_t row = (at.sequence.batch * seqlen + begin) * ngroups + at.group;
    for (int t = 0; t < count; t += Products::rows)
      fill_outputs(row, t, count, decays, inputs, state, outputs + t);
    finish(at, begin, count, inputs, outputs);
    kept.advance(row, count, decays.from_start[count - 1], decays.to_end, inputs, state);
  }

  /// y, but for skip and gate, of Products::rows positions from t on.
  KOKKOS_FUNCTION void fill_outputs(std::int64_t row, int t, int count, const Decays& decays,
                                    const Panel* inputs, const float* state, Panel* outputs) const {
    constexpr int rows = Products::rows;
    Panel sums[rows];
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < panel_packs; ++k) sums[r].lanes[k] = Pack<W>(0.0f);
    }
    kept.add_state(row, t, count, state, sums);
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < panel_packs; ++k) sums[r].lanes[k] *= Pack<W>(decays.from_start[t + r]);
    }
    kept.add_inputs(decays.mix, t, Kokkos::min(t + rows, count), inputs, sums);
    for (int r = 0; r < rows; ++r) outputs[r] = sums[r];
  }

  /// The positions of the block are the lanes.
  KOKKOS_FUNCTION void fill_decays(const Place& at, std::int64_t begin, int count, Decays& decays) const {
    constexpr int packs = block_size / W < 1 ? 1 : block_size / W;
    static_assert(block_size % W == 0);
    alignas(64) float steps[block_size], logs[block_size], factors[block_size];
    for (int k = 0; k < packs; ++k) {
      const int lanes = Kokkos::clamp(count - k * W, 0, W);
      const T* const from = dt.at(at.sequence.batch, begin + k * W, at.head);
      store(steps + k * W, time_step(load<W>(from, dt.stride(1), lanes), at.head));
    }
    for (int t = count; t < block_size; ++t) steps[t] = 0.0f;
    float sum = 0.0f;
    for (int t = 0; t < block_size; ++t) logs[t] = sum += steps[t] * A[at.head];
    for (int k = 0; k < packs; ++k) {
      store(factors + k * W, exp(load<W>(steps + k * W) * Pack<W>(A[at.head])));
      store(decays.from_start + k * W, exp(load<W>(logs + k * W)));
    }
    // Row t of exp(a_t - a_s) is row t - 1 times exp(dt_t A), with one at s = t: as the recurrence itself
    // rounds, and no exponent has the wrong sign.
    constexpr float unit[2 * block_size] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    Pack<W> row[packs];
    for (int k = 0; k < packs; ++k) row[k] = Pack<W>(0.0f);
    const float* product =
        products + ((at.sequence.batch * seqlen + begin) * ngroups + at.group) * block_size;
    for (int t = 0; t < block_size; ++t, product += ngroups * block_size) {
      for (int k = 0; k < packs; ++k) {
        row[k] = fma(row[k], Pack<W>(factors[t]), load<W>(unit + block_size - 1 - t + k * W));
        const Pack<W> weight = row[k] * load<W>(steps + k * W);
        store(decays.mix[t] + k * W, t < count ? weight * load<W>(product + k * W) : Pack<W>(0.0f));
        if (t == block_size - 1) store(decays.to_end + k * W, weight);
      }
    }
  }

  /// Adds the skip connection, gates and writes.
  KOKKOS_FUNCTION void finish(const Place& at, std::int64_t begin, int count, const Panel* inputs,
                              const Panel* outputs) const {
    for (int k = 0; k < panel_packs; ++k) {
      const Column gate = column(z, at, begin, k), to = column(out, at, begin, k);
      const Pack<W> D = skip.at<W>(at.head, at.p + k * W, at.lanes[k]);
      for (int t = 0; t < count; ++t) {
        Pack<W> y = fma(D, inputs[t].lanes[k], outputs[t].lanes[k]);
        if (gate.first) y *= silu(gate.load(t));
        to.store(t, y);
      }
    }
  }

  KOKKOS_FUNCTION void clear(float* state) const {
    for (std::int64_t i = 0; i < kept.state_size(); ++i) state[i] = 0.0f;
  }

  KOKKOS_FUNCTION void load_state(const Place& at, float* state) const {
    clear(state);
    if (!initial_states) return;
    for (std::int64_t n = 0; n < dstate; ++n) {
      for (int k = 0; k < panel_packs; ++k) {
        const float* const from = initial_states.at(at.index, at.head, at.p + k * W, n);
        store(state + n * panel_width + k * W, load<W>(from, initial_states.stride(2), at.lanes[k]));
      }
    }
    kept.set_pairs(state);
  }

  KOKKOS_FUNCTION void store_state(const Place& at, const float* state) const {
    for (std::int64_t n = 0; n < dstate; ++n) {
      for (int k = 0; k < panel_packs; ++k) {
        float* const to = final_states.at(at.index, at.head, at.p + k * W, n);
        store(to, final_states.stride(2), at.lanes[k], load<W>(state + n * panel_width + k * W));
      }
    }
  }
};

template <class T, int W, class Products, class Space>
void run(ExecContext& exec, const Space& space, const SsdScanArgs& args) {
  using Kernel = Scan<T, W, Space, Products>;
  Workspace& workspace = exec.workspace();
  const std::int64_t batch = args.x.extent(0), seqlen = args.x.extent(1);
  const std::int64_t nheads = args.x.extent(2), headdim = args.x.extent(3);
  const std::int64_t ngroups = args.B.extent(2), dstate = args.B.extent(3);
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : batch;
  const std::int64_t positions = batch * seqlen;

  const Blocks blocks{SequenceMap(args.cu_seqlens, seqlen), Strided<std::int32_t, 2>(args.seq_idx),
                      Kokkos::min<std::int64_t>(args.chunk_size, block_size)};
  std::int32_t* const offsets = workspace.take<std::int32_t>(positions);
  for_each_item(space, "ophis::ssd_scan::blocks", nseq, MarkBlocks{blocks, offsets, seqlen});

  const Products kept(workspace, positions, ngroups, dstate);
  const BlockRows<T, W, Products> rows{Strided<T, 4>(args.B),
                                       Strided<T, 4>(args.C),
                                       offsets,
                                       kept,
                                       workspace.take<float>(positions * ngroups * block_size),
                                       seqlen,
                                       ngroups,
                                       dstate};
  for_each_element(space, "ophis::ssd_scan::block_rows", positions * ngroups, rows);

  const Tensor A = as_dense_float32(exec, args.A);
  const std::int64_t panels = (headdim + Kernel::panel_width - 1) / Kernel::panel_width;
  const std::int64_t items = nseq * nheads * panels;
  const ScratchSlots<Space> slots(space, items);
  const Kernel kernel{Strided<T, 4>(args.x),
                      Strided<T, 4>(args.z),
                      Strided<T, 4>(args.out),
                      Strided<T, 3>(args.dt),
                      Strided<float, 4>(args.initial_states),
                      Strided<float, 4>(args.final_states),
                      blocks,
                      make_time_step(exec, args),
                      make_skip(exec, args),
                      A.data<float>(),
                      kept,
                      rows.products,
                      workspace.take<float>(slots.count() * kept.state_size()),
                      slots,
                      seqlen,
                      nheads,
                      headdim,
                      ngroups,
                      dstate,
                      panels};
  for_each_item(space, "ophis::ssd_scan", items, kernel);
}

inline void forward(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      run<T, W, FloatProducts<W>>(exec, space, args);
    });
  });
}

}  // namespace ophis::ssd_scan_kokkos
