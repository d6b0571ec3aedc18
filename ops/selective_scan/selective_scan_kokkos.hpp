// The portable kernels of selective_scan: every backend, every valid input.
#pragma once

#include <numeric>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd_math.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/selective_scan.hpp"
#include "ops/common/sequences.hpp"
#include "ops/common/state_dtype.hpp"
#include "ops/common/strided.hpp"
#include "ops/linear/linear_kokkos.hpp"

namespace ophis::selective_scan_kokkos {

inline constexpr float log2_e = 1.44269504088896341f;

/// Positions of one sequence that an item works on at a time: its inputs, converted to float, stay in L1.
inline constexpr int time_tile = 64;
/// Rows are too far apart for the hardware to see what comes.
inline constexpr int steps_ahead = time_tile;
/// States whose recurrences run side by side, in registers.
inline constexpr int states_per_block = 8;

/// Channels cut into packs of W. A pack never holds channels of two groups.
template <int W>
class ChannelBlocks {
 public:
  /// Each run of `run` channels has the same B and C.
  ChannelBlocks(std::int64_t dim, std::int64_t run)
      : m_run(run), m_blocks_per_run((run + W - 1) / W), m_count(dim / run * m_blocks_per_run) {}

  KOKKOS_INLINE_FUNCTION std::int64_t count() const { return m_count; }
  KOKKOS_INLINE_FUNCTION std::int64_t first_channel(std::int64_t block) const {
    return block / m_blocks_per_run * m_run + block % m_blocks_per_run * W;
  }
  /// Channels in the block, 1..W.
  KOKKOS_INLINE_FUNCTION int channels(std::int64_t block) const {
    return static_cast<int>(Kokkos::min<std::int64_t>(W, m_run - block % m_blocks_per_run * W));
  }

 private:
  std::int64_t m_run, m_blocks_per_run, m_count;
};

/// B or C of a call: a tensor (batch, [seqlen,] ngroups, dstate) where it comes per step, else a dense (dim,
/// dstate).
template <class T, int Rank>
struct Coefficient {
  Strided<T, Rank> per_step;
  const float* constant;  // nullptr where it comes per step
  std::int64_t channels_per_group;

  Coefficient(ExecContext& exec, const Tensor& tensor, std::int64_t dim)
      : per_step(tensor.rank() == Rank ? tensor : Tensor()),
        constant(tensor.rank() == Rank ? nullptr : as_dense_float32(exec, tensor).data<float>()),
        channels_per_group(tensor.rank() == Rank ? dim / tensor.extent(-2) : dim) {}
};

/// softplus(delta + bias) or delta + bias.
template <int W>
KOKKOS_FUNCTION Pack<W> step_size(Pack<W> delta, const float* bias, std::int64_t channel, int count,
                                  bool use_softplus) {
  if (bias) delta += load<W>(bias + channel, 1, count);
  return use_softplus ? softplus(delta) : delta;
}

/// to[block, n, lane] = from[channel, n], from (dim, dstate): the parameters of a pack of channels side by
/// side; zero beyond dim. One item a block.
template <int W>
struct InterleaveChannels {
  const float* from;
  float* to;
  ChannelBlocks<W> blocks;
  std::int64_t dstate;

  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    const float* const rows = from + blocks.first_channel(block) * dstate;
    float* const packs = to + block * dstate * W;
    for (std::int64_t n = 0; n < dstate; ++n)
      store(packs + n * W, load<W>(rows + n, dstate, blocks.channels(block)));
  }
};

/// Copies rows of `count` (at most W) elements to tile[step][lane], zero in the other lanes. Reads along the
/// dense axis.
template <int W, class T>
KOKKOS_FUNCTION void read_tile(float* tile, const T* from, std::int64_t step_stride, std::int64_t lane_stride,
                               int steps, int count) {
  if (step_stride == 1 && lane_stride != 1) {
    for (int lane = 0; lane < W; ++lane) {
      const T* const row = from + lane * lane_stride;
      for (int t = 0; t < steps; ++t) tile[t * W + lane] = lane < count ? static_cast<float>(row[t]) : 0.0f;
    }
    return;
  }
  for (int t = 0; t < steps; ++t) {
    prefetch<W>(from + (t + steps_ahead) * step_stride);
    store(tile + t * W, load<W>(from + t * step_stride, lane_stride, count));
  }
}

/// The same the other way round.
template <int W, class T>
KOKKOS_FUNCTION void write_tile(const float* tile, T* to, std::int64_t step_stride, std::int64_t lane_stride,
                                int steps, int count) {
  if (step_stride == 1 && lane_stride != 1) {
    for (int lane = 0; lane < count; ++lane) {
      T* const row = to + lane * lane_stride;
      for (int t = 0; t < steps; ++t) row[t] = static_cast<T>(tile[t * W + lane]);
    }
    return;
  }
  for (int t = 0; t < steps; ++t) {
    store(to + t * step_stride, lane_stride, count, load<W>(tile + t * W));
  }
}

/// What states from some n on multiply with at step t: a scalar for all channels of the pack, or a pack of
/// each channel's constants.
template <int W, bool constant>
struct Factors {
  const float* values;
  std::int64_t step_stride;

  KOKKOS_FORCEINLINE_FUNCTION Pack<W> at(int t, int n) const {
    if constexpr (constant)
      return load<W>(values + n * W);
    else
      return Pack<W>(values[t * step_stride + n]);
  }
};

/// The recurrence: some states of one pack of channels, over the steps of a tile. A and state are
/// [state][lane]; step (times log2 e), input and y are [t][lane].
template <int W, int states, bool constant_B, bool constant_C>
KOKKOS_FUNCTION void recur(int steps, const float* step, const float* input, const float* A,
                           Factors<W, constant_B> B, Factors<W, constant_C> C, float* state, float* y) {
  Pack<W> h[states];
  for (int n = 0; n < states; ++n) h[n] = load<W>(state + n * W);
  for (int t = 0; t < steps; ++t) {
    const Pack<W> s = load<W>(step + t * W), x = load<W>(input + t * W);
    Pack<W> sum = load<W>(y + t * W);
    for (int n = 0; n < states; ++n) {
      h[n] = fma(exp2(s * load<W>(A + n * W)), h[n], x * B.at(t, n));
      sum = fma(h[n], C.at(t, n), sum);
    }
    store(y + t * W, sum);
  }
  for (int n = 0; n < states; ++n) store(state + n * W, h[n]);
}

/// One item: some packs of channels of one sequence, from its first position to its last.
template <class T, int W>
struct Scan {
  Strided<T, 3> u, delta, z, out;
  Strided<float, 3> initial_states, final_states;
  Coefficient<float, 4> B, C;                // all channels read them, so they are converted once
  const float *A_packs, *B_packs, *C_packs;  // interleaved; the latter two only where they are constant
  const float *D, *delta_bias;               // (dim), or nullptr
  float* states;                             // (sequences, blocks, dstate, W): the running states
  SequenceMap sequences;
  ChannelBlocks<W> blocks;
  std::int64_t blocks_per_item;
  std::int64_t dstate;
  bool delta_softplus;

  /// Packs of channels that are in one cache line.
  static constexpr std::int64_t blocks_per_line =
      W == 1 ? 1 : Kokkos::max<std::int64_t>(1, 64 / (W * static_cast<std::int64_t>(sizeof(T))));

  struct Tile {
    alignas(64) float step[time_tile * W];
    alignas(64) float input[time_tile * W];
    alignas(64) float y[time_tile * W];
  };

  KOKKOS_FUNCTION std::int64_t items_per_sequence() const {
    return (blocks.count() + blocks_per_item - 1) / blocks_per_item;
  }

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t index = item / items_per_sequence();
    const std::int64_t begin = item % items_per_sequence() * blocks_per_item;
    const std::int64_t end = Kokkos::min(blocks.count(), begin + blocks_per_item);
    const Sequence sequence = sequences[index];
    for (std::int64_t block = begin; block < end; ++block) set_states(index, block);
    Tile tile;
    for (std::int64_t l = sequence.begin; l < sequence.end; l += time_tile) {
      const int steps = static_cast<int>(Kokkos::min<std::int64_t>(time_tile, sequence.end - l));
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t channel = blocks.first_channel(block);
        const int count = blocks.channels(block);
        prepare(tile, sequence.batch, l, steps, channel, count);
        advance(tile, sequence.batch, l, steps, block, states_of(index, block));
        finish(tile, sequence.batch, l, steps, channel, count);
      }
    }
    if (!final_states) return;
    for (std::int64_t block = begin; block < end; ++block) write_states(index, block);
  }

  KOKKOS_FUNCTION float* states_of(std::int64_t index, std::int64_t block) const {
    return states + (index * blocks.count() + block) * dstate * W;
  }

  KOKKOS_FUNCTION void set_states(std::int64_t index, std::int64_t block) const {
    float* const state = states_of(index, block);
    for (std::int64_t n = 0; n < dstate; ++n) {
      Pack<W> h(0.0f);
      if (initial_states)
        h = load<W>(initial_states.at(index, blocks.first_channel(block), n), initial_states.stride(1),
                    blocks.channels(block));
      store(state + n * W, h);
    }
  }

  KOKKOS_FUNCTION void write_states(std::int64_t index, std::int64_t block) const {
    const float* const state = states_of(index, block);
    for (std::int64_t n = 0; n < dstate; ++n) {
      store(final_states.at(index, blocks.first_channel(block), n), final_states.stride(1),
            blocks.channels(block), load<W>(state + n * W));
    }
  }

  /// Fills step, input = delta' u and y = D u.
  KOKKOS_FUNCTION void prepare(Tile& tile, std::int64_t batch, std::int64_t l, int steps,
                               std::int64_t channel, int count) const {
    read_channels(tile.step, delta, batch, l, steps, channel, count);
    read_channels(tile.input, u, batch, l, steps, channel, count);
    const Pack<W> skip = D ? load<W>(D + channel, 1, count) : Pack<W>(0.0f);
    for (int t = 0; t < steps; ++t) {
      const Pack<W> step = step_size(load<W>(tile.step + t * W), delta_bias, channel, count, delta_softplus);
      const Pack<W> x = load<W>(tile.input + t * W);
      store(tile.y + t * W, skip * x);
      store(tile.input + t * W, step * x);
      store(tile.step + t * W, step * Pack<W>(log2_e));
    }
  }

  KOKKOS_FUNCTION void advance(Tile& tile, std::int64_t batch, std::int64_t l, int steps, std::int64_t block,
                               float* state) const {
    std::int64_t n = 0;
    for (; n + states_per_block <= dstate; n += states_per_block)
      advance_states<states_per_block>(tile, batch, l, steps, block, n, state + n * W);
    for (; n < dstate; ++n) advance_states<1>(tile, batch, l, steps, block, n, state + n * W);
  }

  /// States [n, n + count).
  template <int count>
  KOKKOS_FUNCTION void advance_states(Tile& tile, std::int64_t batch, std::int64_t l, int steps,
                                      std::int64_t block, std::int64_t n, float* state) const {
    const std::int64_t packs = (block * dstate + n) * W;
    const auto run = [&](auto b, auto c) {
      recur<W, count>(steps, tile.step, tile.input, A_packs + packs, b, c, state, tile.y);
    };
    const auto with_B = [&](auto b) {
      if (C.constant)
        run(b, Factors<W, true>{C_packs + packs, 0});
      else
        run(b, factors(C, batch, l, block, n));
    };
    if (B.constant)
      with_B(Factors<W, true>{B_packs + packs, 0});
    else
      with_B(factors(B, batch, l, block, n));
  }

  KOKKOS_FUNCTION Factors<W, false> factors(const Coefficient<float, 4>& from, std::int64_t batch,
                                            std::int64_t l, std::int64_t block, std::int64_t n) const {
    const std::int64_t group = blocks.first_channel(block) / from.channels_per_group;
    return {from.per_step.at(batch, l, group, n), from.per_step.stride(1)};
  }

  KOKKOS_FUNCTION static void read_channels(float* tile, const Strided<T, 3>& from, std::int64_t batch,
                                            std::int64_t l, int steps, std::int64_t channel, int count) {
    read_tile<W>(tile, from.at(batch, l, channel), from.stride(1), from.stride(2), steps, count);
  }

  /// Gates y and writes it.
  KOKKOS_FUNCTION void finish(Tile& tile, std::int64_t batch, std::int64_t l, int steps, std::int64_t channel,
                              int count) const {
    if (z) {
      read_channels(tile.input, z, batch, l, steps, channel, count);
      for (int t = 0; t < steps; ++t) {
        store(tile.y + t * W, load<W>(tile.y + t * W) * silu(load<W>(tile.input + t * W)));
      }
    }
    write_tile<W>(tile.y, out.at(batch, l, channel), out.stride(1), out.stride(2), steps, count);
  }
};

/// The lanes of a pack run along the axis of the state that is dense in memory.
enum class Lanes { states, channels };

/// One item: one step of some blocks of channels of one row.
template <class T, class S, int W, Lanes lanes>
struct Update {
  Strided<S, 3> state;
  Strided<T, 2> x, dt, z, out;
  Strided<T, 2> dt_weight;  // (dim, dt_rank), its last axis dense, or none
  std::int64_t dt_rank;
  const float* A;  // (dim, dstate)
  Coefficient<T, 3> B, C;
  const float *D, *dt_bias;  // (dim), or nullptr
  ChannelBlocks<W> blocks;
  std::int64_t dstate;
  bool dt_softplus;

  /// Several, because what follows one another in one block takes long, but blocks do not wait for each
  /// other.
  static constexpr int blocks_per_item = W == 1 ? 1 : 4;
  /// Far enough ahead that memory answers in time.
  static constexpr std::int64_t channels_ahead = 64;

  KOKKOS_FUNCTION std::int64_t items_per_row() const {
    return (blocks.count() + blocks_per_item - 1) / blocks_per_item;
  }

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t first = item % items_per_row() * blocks_per_item, b = item / items_per_row();
    const int count = static_cast<int>(Kokkos::min<std::int64_t>(blocks_per_item, blocks.count() - first));
    Pack<W> step[blocks_per_item], y[blocks_per_item];
    for (int k = 0; k < count; ++k) step[k] = time_step(b, first + k);
    for (int k = 0; k < count; ++k) y[k] = advance(b, first + k, step[k]);
    for (int k = 0; k < count; ++k) finish(b, first + k, y[k]);
  }

  /// The step sizes of a block's channels.
  KOKKOS_FUNCTION Pack<W> time_step(std::int64_t b, std::int64_t block) const {
    const std::int64_t channel = blocks.first_channel(block);
    const int count = blocks.channels(block);
    Pack<W> delta;
    if (dt_weight) {
      Pack<W> rows[W];
      for (int lane = 0; lane < W; ++lane) {
        rows[lane] = lane < count ? linear_kokkos::dot<W>(dt.at(b), dt_weight.at(channel + lane), dt_rank)
                                  : Pack<W>(0.0f);
      }
      delta = reduce_add_rows(rows);
    } else {
      delta = load<W>(dt.at(b, channel), dt.stride(1), count);
    }
    return step_size(delta, dt_bias, channel, count, dt_softplus);
  }

  /// Advances the states of a block's channels; returns C h.
  KOKKOS_FUNCTION Pack<W> advance(std::int64_t b, std::int64_t block, Pack<W> step) const {
    const std::int64_t channel = blocks.first_channel(block);
    const int count = blocks.channels(block);
    const Pack<W> input = step * load<W>(x.at(b, channel), x.stride(1), count);
    const Pack<W> log2_step = step * Pack<W>(log2_e);
    if constexpr (lanes == Lanes::channels) {
      Pack<W> y(0.0f);
      for (std::int64_t n = 0; n < dstate; ++n) y += advance(b, channel, n, count, log2_step, input);
      return y;
    } else {
      Pack<W> sums[W];
      for (int lane = 0; lane < W; ++lane) {
        sums[lane] = Pack<W>(0.0f);
        if (lane >= count) continue;
        prefetch<W>(A + (channel + lane + channels_ahead) * dstate);
        prefetch<W>(state.at(b, channel + lane + channels_ahead));
        for (std::int64_t n = 0; n < dstate; n += W) {
          const int tail = static_cast<int>(Kokkos::min<std::int64_t>(W, dstate - n));
          sums[lane] +=
              advance(b, channel + lane, n, tail, Pack<W>(log2_step.lane(lane)), Pack<W>(input.lane(lane)));
        }
      }
      return reduce_add_rows(sums);
    }
  }

  /// Adds the skip connection, gates and writes a block's outputs.
  KOKKOS_FUNCTION void finish(std::int64_t b, std::int64_t block, Pack<W> y) const {
    const std::int64_t channel = blocks.first_channel(block);
    const int count = blocks.channels(block);
    if (D) y = fma(load<W>(D + channel, 1, count), load<W>(x.at(b, channel), x.stride(1), count), y);
    if (z) y *= silu(load<W>(z.at(b, channel), z.stride(1), count));
    store(out.at(b, channel), out.stride(1), count, y);
  }

  /// Advances the `count` states that start at (channel, n) along the lanes' axis; returns C h.
  KOKKOS_FUNCTION Pack<W> advance(std::int64_t b, std::int64_t channel, std::int64_t n, int count,
                                  Pack<W> log2_step, Pack<W> input) const {
    constexpr int axis = lanes == Lanes::channels ? 1 : 2;
    S* const at = state.at(b, channel, n);
    const Pack<W> decay =
        exp2(log2_step * load<W>(A + channel * dstate + n, lanes == Lanes::channels ? dstate : 1, count));
    const Pack<W> h =
        fma(decay, load<W>(at, state.stride(axis), count), input * coefficient(B, b, channel, n, count));
    store(at, state.stride(axis), count, h);
    return h * coefficient(C, b, channel, n, count);
  }

  KOKKOS_FUNCTION Pack<W> coefficient(const Coefficient<T, 3>& from, std::int64_t b, std::int64_t channel,
                                      std::int64_t n, int count) const {
    constexpr bool over_channels = lanes == Lanes::channels;
    if (from.constant)
      return load<W>(from.constant + channel * dstate + n, over_channels ? dstate : 1, count);
    const std::int64_t group = channel / from.channels_per_group;
    if constexpr (over_channels)
      return Pack<W>(from.per_step(b, group, n));
    else
      return load<W>(from.per_step.at(b, group, n), from.per_step.stride(2), count);
  }
};

/// A parameter (dim, dstate) in packs of channels, (blocks, dstate, W), in the workspace.
template <int W, class Space>
const float* interleave(ExecContext& exec, const Space& space, const float* parameter,
                        const ChannelBlocks<W>& blocks, std::int64_t dstate) {
  if (parameter == nullptr) return nullptr;
  float* const packs = exec.workspace().take<float>(blocks.count() * dstate * W);
  for_each_element(space, "ophis::selective_scan::interleave", blocks.count(),
                   InterleaveChannels<W>{parameter, packs, blocks, dstate});
  return packs;
}

inline const float* vector_or_null(ExecContext& exec, const Tensor& parameter) {
  return parameter ? as_dense_float32(exec, parameter).data<float>() : nullptr;
}

template <class T, class Space>
void run_scan(ExecContext& exec, const Space& space, const SelectiveScanArgs& args, std::int64_t nseq) {
  constexpr int W = pack_width<Space>;
  const std::int64_t dim = args.u.extent(2), dstate = args.A.extent(1);
  const Coefficient<float, 4> B(exec, as_dense_float32(exec, args.B), dim);
  const Coefficient<float, 4> C(exec, as_dense_float32(exec, args.C), dim);
  const ChannelBlocks<W> blocks(dim, std::gcd(B.channels_per_group, C.channels_per_group));
  const float* const A = as_dense_float32(exec, args.A).data<float>();
  using K = Scan<T, W>;
  // Fewer where there would not be enough work for all threads.
  const bool whole_lines = nseq * blocks.count() >= K::blocks_per_line * space.concurrency();
  const K kernel{Strided<T, 3>(args.u),
                 Strided<T, 3>(args.delta),
                 Strided<T, 3>(args.z),
                 Strided<T, 3>(args.out),
                 Strided<float, 3>(args.initial_states),
                 Strided<float, 3>(args.final_states),
                 B,
                 C,
                 interleave(exec, space, A, blocks, dstate),
                 interleave(exec, space, B.constant, blocks, dstate),
                 interleave(exec, space, C.constant, blocks, dstate),
                 vector_or_null(exec, args.D),
                 vector_or_null(exec, args.delta_bias),
                 exec.workspace().take<float>(nseq * blocks.count() * dstate * W),
                 SequenceMap(args.cu_seqlens, args.u.extent(1)),
                 blocks,
                 whole_lines ? K::blocks_per_line : 1,
                 dstate,
                 args.delta_softplus};
  for_each_item(space, "ophis::selective_scan", nseq * kernel.items_per_sequence(), kernel);
}

inline void scan(ExecContext& exec, const SelectiveScanArgs& args) {
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.u.extent(0);
  if (nseq == 0 || args.u.extent(2) == 0) return;
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(args.u.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) { run_scan<T>(exec, space, args, nseq); });
  });
}

template <class T, class S, Lanes lanes, class Space>
void run_update(ExecContext& exec, const Space& space, const SelectiveStateUpdateArgs& args) {
  constexpr int W = pack_width<Space>;
  const std::int64_t dim = args.x.extent(1);
  const Coefficient<T, 3> B(exec, args.B, dim), C(exec, args.C, dim);
  const Update<T, S, W, lanes> kernel{
      Strided<S, 3>(args.state),
      Strided<T, 2>(args.x),
      Strided<T, 2>(args.dt),
      Strided<T, 2>(args.z),
      Strided<T, 2>(args.out),
      Strided<T, 2>(args.dt_weight),
      args.dt_weight ? args.dt_weight.extent(1) : 0,
      as_dense_float32(exec, args.A).data<float>(),
      B,
      C,
      vector_or_null(exec, args.D),
      vector_or_null(exec, args.dt_bias),
      ChannelBlocks<W>(dim, std::gcd(B.channels_per_group, C.channels_per_group)),
      args.A.extent(1),
      args.dt_softplus};
  for_each_element(space, "ophis::selective_state_update", args.x.extent(0) * kernel.items_per_row(), kernel);
}

inline void update(ExecContext& exec, const SelectiveStateUpdateArgs& args) {
  if (args.x.count() == 0) return;
  const Workspace::Scope scope(exec.workspace());
  const bool projects_few = exec.device().type == DeviceType::cpu && args.x.extent(0) <= linear_few_rows &&
                            args.dt_weight && args.dt.stride(1) == 1 && args.dt_weight.stride(1) == 1;
  if (args.dt_weight && !projects_few) {
    SelectiveStateUpdateArgs projected = args;
    projected.dt = exec.workspace().take_tensor(args.x.dtype(), args.x.shape());
    projected.dt_weight = Tensor();
    linear(exec, {args.dt, args.dt_weight, {}, projected.dt, true});
    return selective_state_update(exec, projected);  // by whichever implementation is best
  }
  dispatch_with_state(args.x.dtype(), args.state.dtype(),
                      [&]<class T, class S>(std::type_identity<T>, std::type_identity<S>) {
                        with_exec_space(exec, [&](const auto& space) {
                          if (args.state.stride(2) == 1 || args.state.stride(1) != 1)
                            run_update<T, S, Lanes::states>(exec, space, args);
                          else
                            run_update<T, S, Lanes::channels>(exec, space, args);
                        });
                      });
}

}  // namespace ophis::selective_scan_kokkos
