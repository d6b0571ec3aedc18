// selective_scan on AMD GPUs: what one block of threads does, for the GPU and for the model on the CPU.
//
// A block takes 64 channels of one sequence, a wave a quarter of their states: its lanes are the channels,
// and each keeps its part of a channel's state in registers. Positions are taken in tiles, whose inputs, B
// and C come to shared memory first; the waves' parts of C h are added there.
#pragma once

#include "ophis/core/thread_block.hpp"
#include "ops/selective_scan/selective_scan_kokkos.hpp"

namespace ophis::selective_scan_hip {

inline constexpr int channels = 64, waves = 4, tile = 16;

/// The arguments of a scan, with float32 parameters.
template <class T>
struct Arguments {
  Strided<T, 3> u, delta, z, out;
  Strided<T, 4> B, C;
  Strided<float, 3> initial_states, final_states;
  const float *A, *D, *delta_bias;  // (dim, dstate), (dim), (dim); D and delta_bias may be nullptr
  SequenceMap sequences;
  std::int64_t dim, B_group, C_group;  // channels of a group
  bool delta_softplus;

  std::int64_t channel_blocks() const { return (dim + channels - 1) / channels; }
};

/// One block.
template <class T, int dstate>
struct Scan {
  static constexpr int states = dstate / waves;
  static_assert(dstate % waves == 0);

  using Block = ThreadBlock<waves, channels>;

  struct Shared {
    float B[tile][dstate], C[tile][dstate];
    float step[tile][channels], input[tile][channels];  // delta', delta' u
    float parts[tile][waves][channels];                 // of C h
  };
  struct Registers {
    float A[states], h[states];  // A log2(e)
  };

  Arguments<T> args;
  std::int64_t channel_blocks;

  OPHIS_INLINE_FUNCTION void operator()(std::int64_t item, Shared& shared) const {
    const std::int64_t first = item % channel_blocks * channels, index = item / channel_blocks;
    const std::int64_t left = args.dim - first;
    const int count = static_cast<int>(left < channels ? left : channels);
    const Sequence sequence = args.sequences[index];
    const Block block;
    Private<Registers, Block::threads> registers;
    block.each_thread([&](int thread) { load_state(registers[thread], index, first, count, thread); });
    for (std::int64_t begin = sequence.begin; begin < sequence.end; begin += tile) {
      const std::int64_t rest = sequence.end - begin;
      const Place at{sequence.batch, begin, first, static_cast<int>(rest < tile ? rest : tile), count};
      stage(block, shared, at);
      block.each_thread([&](int thread) { advance(registers[thread], shared, at.positions, thread); });
      block.each_item(tile * channels, [&](int i) { write_output(shared, at, i / channels, i % channels); });
    }
    block.each_thread([&](int thread) { store_state(registers[thread], index, first, count, thread); });
  }

 private:
  /// Where a tile is: its first position and channel, and how many of each there are.
  struct Place {
    std::int64_t batch, begin, first;
    int positions, channels;
  };

  OPHIS_INLINE_FUNCTION void load_state(Registers& own, std::int64_t index, std::int64_t first, int count,
                                        int thread) const {
    const int n = thread / channels * states;
    const std::int64_t channel = first + thread % channels;
    const bool inside = thread % channels < count;
    OPHIS_UNROLL
    for (int k = 0; k < states; ++k) {
      own.A[k] = inside ? args.A[channel * dstate + n + k] * selective_scan_kokkos::log2_e : 0.0f;
      own.h[k] = inside && args.initial_states ? *args.initial_states.at(index, channel, n + k) : 0.0f;
    }
  }
  OPHIS_INLINE_FUNCTION void store_state(const Registers& own, std::int64_t index, std::int64_t first,
                                         int count, int thread) const {
    if (!args.final_states || thread % channels >= count) return;
    const int n = thread / channels * states;
    OPHIS_UNROLL
    for (int k = 0; k < states; ++k)
      *args.final_states.at(index, first + thread % channels, n + k) = own.h[k];
  }

  /// A tile's inputs, zeros where there is no position or channel.
  OPHIS_INLINE_FUNCTION void stage(const Block& block, Shared& shared, const Place& at) const {
    block.each_item(tile * dstate, [&](int i) {
      const int t = i / dstate, n = i % dstate;
      const bool inside = t < at.positions;
      shared.B[t][n] = inside ? args.B(at.batch, at.begin + t, at.first / args.B_group, n) : 0.0f;
      shared.C[t][n] = inside ? args.C(at.batch, at.begin + t, at.first / args.C_group, n) : 0.0f;
    });
    block.each_item(tile * channels, [&](int i) {
      const int t = i / channels, c = i % channels;
      const bool inside = t < at.positions && c < at.channels;
      const float step =
          inside ? selective_scan_kokkos::step_size(Pack<1>(args.delta(at.batch, at.begin + t, at.first + c)),
                                                    args.delta_bias, at.first + c, 1, args.delta_softplus)
                       .v
                 : 0.0f;
      shared.step[t][c] = step;
      shared.input[t][c] = inside ? step * args.u(at.batch, at.begin + t, at.first + c) : 0.0f;
    });
  }

  OPHIS_INLINE_FUNCTION void advance(Registers& own, Shared& shared, int positions, int thread) const {
    const int wave = thread / channels, c = thread % channels, n = wave * states;
    for (int t = 0; t < positions; ++t) {
      const float step = shared.step[t][c], input = shared.input[t][c];
      float sum = 0.0f;
      OPHIS_UNROLL
      for (int k = 0; k < states; ++k) {
        const float decay = exp2(Pack<1>(step * own.A[k])).v;
        own.h[k] = decay * own.h[k] + input * shared.B[t][n + k];
        sum += own.h[k] * shared.C[t][n + k];
      }
      shared.parts[t][wave][c] = sum;
    }
  }

  OPHIS_INLINE_FUNCTION void write_output(const Shared& shared, const Place& at, int t, int c) const {
    if (t >= at.positions || c >= at.channels) return;
    const std::int64_t l = at.begin + t, channel = at.first + c;
    float y = 0.0f;
    OPHIS_UNROLL
    for (int wave = 0; wave < waves; ++wave) y += shared.parts[t][wave][c];
    if (args.D) y += args.D[channel] * args.u(at.batch, l, channel);
    if (args.z) y *= silu(Pack<1>(args.z(at.batch, l, channel))).v;
    *args.out.at(at.batch, l, channel) = T(y);
  }
};

inline std::int64_t sequences(const SelectiveScanArgs& args) {
  return args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.u.extent(0);
}

inline const char* why_not_arguments(const SelectiveScanArgs& args) {
  const std::int64_t dim = args.u.extent(2), dstate = args.A.extent(1);
  if (dstate != 16 && dstate != 32 && dstate != 64) return "takes dstate 16, 32 and 64";
  if (args.B.rank() != 4 || args.C.rank() != 4) return "takes no constant B and C";
  const auto splits_blocks = [&](const Tensor& coefficient) {
    return coefficient.extent(2) > 1 && dim / coefficient.extent(2) % channels != 0;
  };
  if (splits_blocks(args.B) || splits_blocks(args.C)) return "takes groups of multiples of 64 channels";
  if (args.u.count() == 0) return "takes no empty tensors";
  if (sequences(args) * ((dim + channels - 1) / channels) >= std::int64_t{1} << 31)
    return "takes up to 2^31 blocks of channels";
  return nullptr;
}

/// Calls f(kernel, blocks) with the Scan for the arguments, made with memory of the workspace.
template <class F>
void dispatch_kernel(ExecContext& exec, const SelectiveScanArgs& args, const F& f) {
  dispatch_compute_dtype(args.u.dtype(), [&]<class T>(std::type_identity<T>) {
    const std::int64_t dim = args.u.extent(2);
    const Arguments<T> arguments{Strided<T, 3>(args.u),
                                 Strided<T, 3>(args.delta),
                                 Strided<T, 3>(args.z),
                                 Strided<T, 3>(args.out),
                                 Strided<T, 4>(args.B),
                                 Strided<T, 4>(args.C),
                                 Strided<float, 3>(args.initial_states),
                                 Strided<float, 3>(args.final_states),
                                 as_dense_float32(exec, args.A).template data<float>(),
                                 selective_scan_kokkos::vector_or_null(exec, args.D),
                                 selective_scan_kokkos::vector_or_null(exec, args.delta_bias),
                                 SequenceMap(args.cu_seqlens, args.u.extent(1)),
                                 dim,
                                 dim / args.B.extent(2),
                                 dim / args.C.extent(2),
                                 args.delta_softplus};
    const std::int64_t channel_blocks = arguments.channel_blocks(), blocks = sequences(args) * channel_blocks;
    switch (args.A.extent(1)) {
      case 16:
        return f(Scan<T, 16>{arguments, channel_blocks}, blocks);
      case 32:
        return f(Scan<T, 32>{arguments, channel_blocks}, blocks);
      default:
        return f(Scan<T, 64>{arguments, channel_blocks}, blocks);
    }
  });
}

}  // namespace ophis::selective_scan_hip
