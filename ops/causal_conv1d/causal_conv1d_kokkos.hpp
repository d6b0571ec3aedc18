// The portable kernels of causal_conv1d: every backend, every valid input.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/ops/causal_conv1d.hpp"
#include "ops/activation/apply_activation.hpp"
#include "ops/causal_conv1d/final_states_kokkos.hpp"
#include "ops/common/sequences.hpp"
#include "ops/common/strided.hpp"

namespace ophis::causal_conv1d_kokkos {

/// The lanes of a pack run along the axis that is dense in memory.
enum class Lanes { channels, time };

/// Positions of one sequence that an item computes.
inline constexpr std::int64_t time_tile = 128;
/// Of the filters of nearly all models.
inline constexpr int usual_width = 4;
/// How far ahead rows are fetched: they lie too far apart for the hardware to see a stream.
inline constexpr std::int64_t rows_ahead = 8;

/// One item: time_tile outputs of a block of channels (lanes over channels: one pack of them; over time: one
/// channel).
template <class T, int W, Lanes lanes>
struct Forward {
  Strided<T, 3> x, out, initial_states;
  const float* weight;  // (width, dim)
  const float* bias;    // (dim), or nullptr
  Strided<std::int32_t, 2> seq_idx;
  SequenceMap sequences;
  std::int64_t dim, width, tiles, channel_blocks;
  Activation activation;

  /// On a CPU several packs, so that a row of memory is read in long runs; a GPU's threads lie side by side
  /// instead.
  static constexpr int channels_per_item = lanes == Lanes::time || W == 1 ? 1 : 8 * W;

  /// Packs of a cache line that are computed together, as far as registers reach.
  static constexpr int line_packs = W == 16 && sizeof(T) == 2 ? 2 : 1;
  /// The usual activation, for the compiler to know.
  using Silu = std::integral_constant<Activation, Activation::silu>;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    // Items side by side are neighbours in memory.
    constexpr bool along_channels = lanes == Lanes::channels;
    std::int64_t channel =
        (along_channels ? item % channel_blocks : item / tiles % channel_blocks) * channels_per_item;
    const std::int64_t tile = along_channels ? item / channel_blocks % tiles : item % tiles;
    const std::int64_t index = item / channel_blocks / tiles;
    const Sequence sequence = sequences[index];
    const std::int64_t begin = sequence.begin + tile * time_tile;
    const std::int64_t end = Kokkos::min(sequence.end, begin + time_tile);
    if constexpr (along_channels) {
      const std::int64_t channel_end = Kokkos::min(dim, channel + channels_per_item);
      // Whole packs whose inputs are all the sequence's own take the quick way, the rest the long one.
      if constexpr (W > 1) {
        const std::int64_t plain = Kokkos::max(begin, sequence.begin + usual_width - 1);
        if (width == usual_width && !seq_idx && plain < end && x.stride(2) == 1 && out.stride(2) == 1) {
          std::int64_t c = channel;
          for (; c + line_packs * W <= channel_end; c += line_packs * W) {
            for (std::int64_t l = begin; l < plain; ++l) {
              for (int k = 0; k < line_packs; ++k) output<W>(index, sequence, l, c + k * W, W);
            }
            if (activation == Activation::silu)
              outputs<usual_width, line_packs>(sequence.batch, plain, end, c, Silu{});
            else
              outputs<usual_width, line_packs>(sequence.batch, plain, end, c, activation);
          }
          channel = c;
        }
      }
      for (std::int64_t l = begin; l < end; ++l) {
        for (std::int64_t c = channel; c < channel_end; c += W) {
          output<W>(index, sequence, l, c, static_cast<int>(Kokkos::min<std::int64_t>(W, channel_end - c)));
        }
      }
    } else {
      // The first width - 1 outputs read initial_states, and seq_idx differs from lane to lane: one by one.
      const std::int64_t plain =
          seq_idx ? end : Kokkos::min(end, Kokkos::max(begin, sequence.begin + width - 1));
      std::int64_t l = begin;
      for (; l < plain; ++l) output<1>(index, sequence, l, channel, 1);
      if (width == usual_width && out.stride(1) == 1) {
        const std::int64_t whole = l + (end - l) / W * W;
        outputs_over_time<usual_width>(sequence.batch, l, whole, channel);
        l = whole;
      }
      for (; l < end; l += W) {
        output<W>(index, sequence, l, channel, static_cast<int>(Kokkos::min<std::int64_t>(W, end - l)));
      }
    }
  }

  /// Outputs [begin, end) of neighbouring packs of channels, whose inputs are all the sequence's own: each
  /// input is read once.
  template <int taps, int packs, class Kind>
  KOKKOS_FUNCTION void outputs(std::int64_t batch, std::int64_t begin, std::int64_t end, std::int64_t channel,
                               Kind kind) const {
    Pack<W> weights[packs][taps], inputs[packs][taps], start[packs];
    for (int p = 0; p < packs; ++p) {
      const std::int64_t c = channel + p * W;
      for (int k = 0; k < taps; ++k) weights[p][k] = load<W>(weight + k * dim + c);
      for (int k = 1; k < taps; ++k) inputs[p][k] = load<W>(x.at(batch, begin - taps + k, c));
      start[p] = bias ? load<W>(bias + c) : Pack<W>(0.0f);
    }
    const T* from = x.at(batch, begin, channel);
    T* to = out.at(batch, begin, channel);
    for (std::int64_t l = begin; l < end; ++l, from += x.stride(1), to += out.stride(1)) {
      prefetch<W>(from + rows_ahead * x.stride(1));
      for (int p = 0; p < packs; ++p) {
        for (int k = 1; k < taps; ++k) inputs[p][k - 1] = inputs[p][k];
        inputs[p][taps - 1] = load<W>(from + p * W);
        Pack<W> sum = start[p];
        for (int k = 0; k < taps; ++k) sum = fma(weights[p][k], inputs[p][k], sum);
        store(to + p * W, apply_activation<W>(kind, sum));
      }
    }
  }

  /// Outputs [begin, end), whole packs of them, of one channel, whose inputs are all the sequence's own.
  template <int taps>
  KOKKOS_FUNCTION void outputs_over_time(std::int64_t batch, std::int64_t begin, std::int64_t end,
                                         std::int64_t channel) const {
    Pack<W> weights[taps];
    for (int k = 0; k < taps; ++k) weights[k] = Pack<W>(weight[k * dim + channel]);
    const Pack<W> start(bias ? bias[channel] : 0.0f);
    const T* from = x.at(batch, begin - (taps - 1), channel);
    T* to = out.at(batch, begin, channel);
    for (std::int64_t l = begin; l < end; l += W, from += W, to += W) {
      Pack<W> sum = start;
      for (int k = 0; k < taps; ++k) sum = fma(weights[k], load<W>(from + k), sum);
      store(to, apply_activation(activation, sum));
    }
  }

  /// The `count` outputs that start at position l and the given channel, along the lanes' axis.
  template <int V>
  KOKKOS_FUNCTION void output(std::int64_t index, const Sequence& sequence, std::int64_t l,
                              std::int64_t channel, int count) const {
    constexpr int axis = lanes == Lanes::channels ? 2 : 1;
    Pack<V> sum(0.0f);
    if (bias) sum = parameter<V>(bias + channel, count);
    const std::int64_t first = l - (width - 1);
    const bool inside = !seq_idx && first >= sequence.begin;  // all taps are inputs of this sequence
    const T* from = x.at(sequence.batch, l, channel);
    if constexpr (lanes == Lanes::channels) prefetch<V>(from + rows_ahead * x.stride(1));
    from -= (width - 1) * x.stride(1);
    for (std::int64_t k = 0; k < width; ++k, from += x.stride(1)) {
      const Pack<V> input = inside ? load<V>(from, x.stride(axis), count)
                                   : tap<V>(index, sequence, l, first + k, channel, count);
      sum = fma(parameter<V>(weight + k * dim + channel, count), input, sum);
    }
    sum = apply_activation(activation, sum);
    if (seq_idx && *seq_idx.at(sequence.batch, l) < 0) sum = Pack<V>(0.0f);
    store(out.at(sequence.batch, l, channel), out.stride(axis), count, sum);
  }

  template <int V>
  KOKKOS_FUNCTION Pack<V> parameter(const float* from, int count) const {
    if constexpr (lanes == Lanes::channels)
      return load<V>(from, 1, count);
    else
      return Pack<V>(*from);
  }

  /// The input at position `at` as the output at position l sees it.
  template <int V>
  KOKKOS_FUNCTION Pack<V> tap(std::int64_t index, const Sequence& sequence, std::int64_t l, std::int64_t at,
                              std::int64_t channel, int count) const {
    constexpr int axis = lanes == Lanes::channels ? 2 : 1;
    const bool before = at < sequence.begin;
    if (seq_idx) {
      const std::int64_t owner = before ? sequence.begin : at;
      if (*seq_idx.at(sequence.batch, owner) != *seq_idx.at(sequence.batch, l)) return Pack<V>(0.0f);
    }
    if (!before) return load<V>(x.at(sequence.batch, at, channel), x.stride(axis), count);
    if (!initial_states) return Pack<V>(0.0f);
    const std::int64_t slot = at - sequence.begin + width - 1;
    return load<V>(initial_states.at(index, channel, slot), initial_states.stride(1), count);
  }
};

/// One item: one step of W channels of one row.
template <class T, int W>
struct Update {
  Strided<T, 2> x, out;
  Strided<T, 3> conv_state;
  const float* weight;  // (width, dim)
  const float* bias;    // (dim), or nullptr
  std::int64_t dim, width, state_len, channel_blocks;
  Activation activation;

  /// The streams of a step are many and short: the hardware sees them too late.
  static constexpr std::int64_t channels_ahead = 8 * W;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t channel = item % channel_blocks * W;
    const std::int64_t b = item / channel_blocks;
    const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, dim - channel));
    for (std::int64_t slot = 0; slot < state_len; ++slot)
      prefetch<W>(conv_state.at(b, channel + channels_ahead, slot));
    for (std::int64_t k = 0; k < width; ++k) prefetch<W>(weight + k * dim + channel + channels_ahead);
    const Pack<W> input = load<W>(x.at(b, channel), x.stride(1), count);
    Pack<W> sum = bias ? load<W>(bias + channel, 1, count) : Pack<W>(0.0f);
    for (std::int64_t slot = 0; slot < state_len; ++slot) {
      const Pack<W> old = load<W>(conv_state.at(b, channel, slot), conv_state.stride(1), count);
      const std::int64_t k = slot - (state_len - (width - 1));
      if (k >= 0) sum = fma(load<W>(weight + k * dim + channel, 1, count), old, sum);
      if (slot > 0) store(conv_state.at(b, channel, slot - 1), conv_state.stride(1), count, old);
    }
    if (state_len > 0) store(conv_state.at(b, channel, state_len - 1), conv_state.stride(1), count, input);
    sum = fma(load<W>(weight + (width - 1) * dim + channel, 1, count), input, sum);
    sum = apply_activation(activation, sum);
    store(out.at(b, channel), out.stride(1), count, sum);
  }
};

/// Starts Forward with its lanes along channels or time.
template <class T, Lanes lanes, class Space>
void run_forward(ExecContext& exec, const Space& space, const CausalConv1dArgs& args,
                 const SequenceMap& sequences, std::int64_t nseq) {
  constexpr int W = pack_width<Space>;
  using Kernel = Forward<T, W, lanes>;
  const std::int64_t seqlen = args.x.extent(1), dim = args.x.extent(2);
  const Tensor weight = as_dense_float32(exec, args.weight.transpose(0, 1));
  const Tensor bias = as_dense_float32(exec, args.bias);
  const Kernel kernel{Strided<T, 3>(args.x),
                      Strided<T, 3>(args.out),
                      Strided<T, 3>(args.initial_states),
                      weight.data<float>(),
                      bias ? bias.data<float>() : nullptr,
                      Strided<std::int32_t, 2>(args.seq_idx),
                      sequences,
                      dim,
                      args.weight.extent(1),
                      (seqlen + time_tile - 1) / time_tile,
                      (dim + Kernel::channels_per_item - 1) / Kernel::channels_per_item,
                      args.activation};
  for_each_item(space, "ophis::causal_conv1d", nseq * kernel.tiles * kernel.channel_blocks, kernel);
}

inline void forward(ExecContext& exec, const CausalConv1dArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
  const SequenceMap sequences(args.cu_seqlens, args.x.extent(1));
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      if (args.x.stride(2) == 1 || args.x.stride(1) != 1) {
        run_forward<T, Lanes::channels>(exec, space, args, sequences, nseq);
      } else {
        run_forward<T, Lanes::time>(exec, space, args, sequences, nseq);
      }
    });
  });
  write_final_states(exec, args);
}

/// The kernel of a step. Dense parameters go to the workspace.
template <class T, int W>
Update<T, W> make_update(ExecContext& exec, const CausalConv1dUpdateArgs& args) {
  const std::int64_t dim = args.x.extent(1);
  const Tensor weight = as_dense_float32(exec, args.weight.transpose(0, 1));
  const Tensor bias = as_dense_float32(exec, args.bias);
  return {Strided<T, 2>(args.x),
          Strided<T, 2>(args.out),
          Strided<T, 3>(args.conv_state),
          weight.data<float>(),
          bias ? bias.data<float>() : nullptr,
          dim,
          args.weight.extent(1),
          args.conv_state.extent(2),
          (dim + W - 1) / W,
          args.activation};
}

inline void update(ExecContext& exec, const CausalConv1dUpdateArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const Update<T, W> kernel = make_update<T, W>(exec, args);
      for_each_element(space, "ophis::causal_conv1d_update", args.x.extent(0) * kernel.channel_blocks,
                       kernel);
    });
  });
}

}  // namespace ophis::causal_conv1d_kokkos
