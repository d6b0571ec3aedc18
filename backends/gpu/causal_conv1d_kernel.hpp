// causal_conv1d on GPUs: what the kernels for NVIDIA's and AMD's have in common. The convolution reads and
// writes every element once, so they move 16 bytes per access and keep many accesses in flight. They sum
// products in the order of the portable kernel.
//
// `Access` is how a GPU does what the other does in its own way:
//
//     to_float(x), from_float<T>(x), silu(x)
//     unpack<T>(vector, floats), pack<T>(floats)
//     load(vector)       a vector in shared memory
//     store(to, vector)  to memory that the kernel does not read again
//     Copies<T, n>       n copies of vectors to shared memory, in flight together: start(i, to, from),
//     finish()
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "backends/gpu/packed.hpp"
#include "ophis/core/macros.hpp"
#include "ophis/core/tensor.hpp"
#include "ophis/ops/causal_conv1d.hpp"

namespace ophis::causal_conv1d_gpu {

using gpu::Packed;
using gpu::vector_bytes;
using gpu::vector_width;

template <class T>
using Vector = Packed<T, vector_width<T>>;

/// A tensor as kernels see it; tests false where none is given.
template <class T, int rank>
struct View {
  T* data = nullptr;
  std::int64_t strides[rank] = {};

  View() = default;
  explicit View(const Tensor& tensor) : data(static_cast<T*>(tensor.raw())) {
    if (tensor) std::copy_n(tensor.strides().begin(), rank, strides);
  }
  OPHIS_KERNEL_FUNCTION explicit operator bool() const { return data != nullptr; }
  template <class... Index>
  OPHIS_KERNEL_FUNCTION T* at(Index... index) const {
    static_assert(sizeof...(Index) == rank);
    const std::int64_t indices[] = {static_cast<std::int64_t>(index)...};
    T* address = data;
    OPHIS_UNROLL
    for (int i = 0; i < rank; ++i) address += indices[i] * strides[i];
    return address;
  }
};

/// Calls f with a value of the C++ type of a compute dtype.
template <class F>
OPHIS_KERNEL_FUNCTION void with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::bfloat16:
      return f(bfloat16{});
    case DType::float16:
      return f(float16{});
    default:
      return f(0.0f);
  }
}

/// A parameter of any compute dtype: (dim, width), or (dim).
struct Parameter {
  const void* data;
  DType dtype;
  std::int64_t strides[2];

  explicit Parameter(const Tensor& tensor)
      : data(tensor.raw()),
        dtype(tensor.dtype()),
        strides{tensor ? tensor.stride(0) : 0, tensor.rank() > 1 ? tensor.stride(1) : 0} {}

  /// Elements [0, width) of n channels, all on their way at once; zeros where the parameter is not given, and
  /// for channels beyond `end`.
  template <class Access, int n, int width>
  OPHIS_KERNEL_FUNCTION void load(int first_channel, int channel_step, int end, float (&to)[n][width]) const {
    with_type(dtype, [&]<class P>(P) {
      P elements[n][width];
      OPHIS_UNROLL
      for (int i = 0; i < n; ++i) {
        const int channel = first_channel + i * channel_step;
        const P* from = static_cast<const P*>(data) + channel * strides[0];
        OPHIS_UNROLL
        for (int k = 0; k < width; ++k) elements[i][k] = data && channel < end ? from[k * strides[1]] : P{};
      }
      OPHIS_UNROLL
      for (int i = 0; i < n; ++i) {
        OPHIS_UNROLL
        for (int k = 0; k < width; ++k) to[i][k] = Access::to_float(elements[i][k]);
      }
    });
  }
};

/// Where a sequence lies: positions [begin, end) of its row.
struct Sequence {
  int index, begin, end;
};

/// The arguments of causal_conv1d.
template <class T>
struct Forward {
  View<const T, 3> x, initial_states;
  View<T, 3> out, final_states;
  Parameter weight, bias;
  const std::int32_t* cu_seqlens;
  int batch, seqlen, dim, nseq;
  bool silu;
  bool writes_final;  // by the forward kernel, whose launch otherwise is followed by one for the final states

  explicit Forward(const CausalConv1dArgs& args)
      : x(args.x),
        initial_states(args.initial_states),
        out(args.out),
        final_states(args.final_states),
        weight(args.weight),
        bias(args.bias),
        cu_seqlens(args.cu_seqlens ? args.cu_seqlens.data<std::int32_t>() : nullptr),
        batch(static_cast<int>(args.x.extent(0))),
        seqlen(static_cast<int>(args.x.extent(1))),
        dim(static_cast<int>(args.x.extent(2))),
        nseq(cu_seqlens ? static_cast<int>(args.cu_seqlens.extent(0)) - 1 : batch),
        silu(args.activation == Activation::silu),
        // Sequences of length 0 have no tile, and a tile must not overwrite what another has yet to read.
        writes_final(final_states.data && !cu_seqlens && seqlen > 0 &&
                     final_states.data != initial_states.data) {}

  OPHIS_KERNEL_FUNCTION Sequence sequence(int i) const {
    if (!cu_seqlens) return {i, 0, seqlen};
    return {i, cu_seqlens[i], cu_seqlens[i + 1]};
  }
  /// The sequence that holds position l of a row.
  OPHIS_KERNEL_FUNCTION Sequence sequence_at(int row, int l) const {
    if (!cu_seqlens) return sequence(row);
    int first = 0, last = nseq - 1;
    while (first < last) {
      const int middle = (first + last + 1) / 2;
      if (cu_seqlens[middle] <= l) {
        first = middle;
      } else {
        last = middle - 1;
      }
    }
    return sequence(first);
  }
  /// The input at one of the width - 1 positions before a sequence.
  template <int width>
  OPHIS_KERNEL_FUNCTION T input_before(const Sequence& sequence, int l, int channel) const {
    if (!initial_states) return T{};
    return *initial_states.at(sequence.index, channel, l - sequence.begin + width - 1);
  }
  /// Slots are written in rising order and read at or above the one being written, so final_states may be the
  /// memory of initial_states.
  template <int width>
  OPHIS_KERNEL_FUNCTION void write_final_state(int row, const Sequence& sequence, int channel) const {
    const std::int64_t step = x.strides[1];
    const T* from = x.at(row, sequence.end - (width - 1), channel);
    OPHIS_UNROLL
    for (int slot = 0; slot < width - 1; ++slot, from += step) {
      const int l = sequence.end - (width - 1) + slot;
      *final_states.at(sequence.index, channel, slot) =
          l >= sequence.begin ? *from : input_before<width>(sequence, l, channel);
    }
  }
  /// The final state of a channel of sequence i, where this kernel does not write it.
  template <int width>
  OPHIS_KERNEL_FUNCTION void write_final_state(int i, int channel) const {
    write_final_state<width>(cu_seqlens ? 0 : i, sequence(i), channel);
  }
};

/// The outputs of N channels or positions; taps[k] are the inputs of filter tap k.
template <class Access, int N, int width>
OPHIS_KERNEL_FUNCTION void convolve(const float (&weight)[width][N], const float (&bias)[N], bool apply_silu,
                                    const float (&taps)[width][N], float (&sums)[N]) {
  OPHIS_UNROLL
  for (int i = 0; i < N; ++i) {
    sums[i] = bias[i];
    OPHIS_UNROLL
    for (int k = 0; k < width; ++k) sums[i] = std::fma(weight[k][i], taps[k][i], sums[i]);
  }
  if (!apply_silu) return;
  OPHIS_UNROLL
  for (int i = 0; i < N; ++i) sums[i] = Access::silu(sums[i]);
}

/// Channels are dense. A block computes `strips` of `rows` positions each, of `lanes` vectors of channels: it
/// stages the inputs in shared memory whole, and each thread slides the filter down a strip of its vector.
template <class Access, class T, int width, int lanes, int strips, int rows>
struct ChannelsLast {
  static constexpr int V = vector_width<T>, threads = strips * lanes, channels = lanes * V,
                       before = width - 1, positions = strips * rows, slots = before + positions;

  struct Shared {
    alignas(vector_bytes) T inputs[slots][channels];
    float weights[width][channels], biases[channels];
  };
  /// A block's part: positions of a row from `first` on, channels from `channel` on.
  struct Tile {
    int row, first, channel;
  };

  Forward<T> f;
  int channel_blocks, time_blocks;

  explicit ChannelsLast(const Forward<T>& arguments)
      : f(arguments),
        channel_blocks((f.dim - 1) / channels + 1),
        time_blocks((f.seqlen - 1) / positions + 1) {}

  std::int64_t blocks() const { return std::int64_t{channel_blocks} * time_blocks * f.batch; }
  OPHIS_KERNEL_FUNCTION Tile tile(int block) const {
    return {block / channel_blocks / time_blocks, block / channel_blocks % time_blocks * positions,
            block % channel_blocks * channels};
  }

  /// The first half of a thread's work; then threads wait for each other.
  OPHIS_KERNEL_FUNCTION void stage(Shared& shared, const Tile& tile, int thread) const {
    constexpr int copies = rows + (before + strips - 1) / strips, n = (channels + threads - 1) / threads;
    const int lane = thread % lanes, strip = thread / lanes, channel = tile.channel + lane * V;
    typename Access::template Copies<T, copies> inputs;
    OPHIS_UNROLL
    for (int i = 0; i < copies; ++i) {
      const int slot = i * strips + strip, l = tile.first - before + slot;
      const bool wanted = slot < slots && l >= 0 && l < f.seqlen && channel < f.dim;
      inputs.start(i, &shared.inputs[std::min(slot, slots - 1)][lane * V], f.x.at(tile.row, l, channel),
                   wanted);
    }
    float own_weight[n][width], own_bias[n][1];
    f.weight.template load<Access>(tile.channel + thread, threads, f.dim, own_weight);
    f.bias.template load<Access>(tile.channel + thread, threads, f.dim, own_bias);
    OPHIS_UNROLL
    for (int i = 0; i < n; ++i) {
      const int at = thread + i * threads;
      if (channels % threads != 0 && at >= channels) break;
      OPHIS_UNROLL
      for (int k = 0; k < width; ++k) shared.weights[k][at] = own_weight[i][k];
      shared.biases[at] = own_bias[i][0];
    }
    inputs.finish();
  }

  /// The second half.
  OPHIS_KERNEL_FUNCTION void compute(const Shared& shared, const Tile& tile, int thread) const {
    const int lane = thread % lanes, channel = tile.channel + lane * V;
    int l = tile.first + thread / lanes * rows;
    const int end = std::min(l + rows, f.seqlen);
    if (l >= end || channel >= f.dim) return;
    float weight[width][V], bias[V], taps[width][V];
    OPHIS_UNROLL
    for (int i = 0; i < V; ++i) {
      OPHIS_UNROLL
      for (int k = 0; k < width; ++k) weight[k][i] = shared.weights[k][lane * V + i];
      bias[i] = shared.biases[lane * V + i];
    }
    const auto load = [&](int position, float(&to)[V]) {
      Access::unpack(Access::load(&shared.inputs[position - tile.first + before][lane * V]), to);
    };
    Sequence sequence{};
    while (l < end) {
      sequence = f.sequence_at(tile.row, l);
      // taps[k] hold the inputs before position l from k = 1 on.
      OPHIS_UNROLL
      for (int k = 1; k < width; ++k) {
        const int position = l - width + k;
        load(position, taps[k]);
        if (position >= sequence.begin) continue;
        OPHIS_UNROLL
        for (int i = 0; i < V; ++i) {
          taps[k][i] = Access::to_float(f.template input_before<width>(sequence, position, channel + i));
        }
      }
      T* to = f.out.at(tile.row, l, channel);
      const int stop = std::min(end, sequence.end);
      OPHIS_UNROLL_BY(4)
      for (; l < stop; ++l, to += f.out.strides[1]) {
        OPHIS_UNROLL
        for (int k = 0; k + 1 < width; ++k) {
          OPHIS_UNROLL
          for (int i = 0; i < V; ++i) taps[k][i] = taps[k + 1][i];
        }
        load(l, taps[width - 1]);
        float sums[V];
        convolve<Access>(weight, bias, f.silu, taps, sums);
        Access::store(to, Access::template pack<T>(sums));
      }
    }
    if (f.writes_final && end == sequence.end) {
      for (int i = 0; i < V; ++i) f.template write_final_state<width>(tile.row, sequence, channel + i);
    }
  }
};

/// Time is dense: one channel of one row, in vectors that start at multiples of 16 bytes in memory, so that
/// those at the row's ends may be incomplete.
template <class Access, class T, int width>
struct ChannelRow {
  static constexpr int V = vector_width<T>;

  const Forward<T>& f;
  int row, channel;
  const T* x;
  T* out;
  float weight[1][width], bias[1][1];

  OPHIS_KERNEL_FUNCTION ChannelRow(const Forward<T>& arguments, int row_index, int channel_index)
      : f(arguments),
        row(row_index),
        channel(channel_index),
        x(f.x.at(row_index, 0, channel_index)),
        out(f.out.at(row_index, 0, channel_index)) {}

  OPHIS_KERNEL_FUNCTION void load_parameters() {
    f.weight.template load<Access>(channel, 0, f.dim, weight);
    f.bias.template load<Access>(channel, 0, f.dim, bias);
  }

  /// Elements from the last multiple of 16 bytes to the row's start.
  OPHIS_KERNEL_FUNCTION int shift() const {
    return static_cast<int>(reinterpret_cast<std::uintptr_t>(x) % vector_bytes / sizeof(T));
  }
  OPHIS_KERNEL_FUNCTION bool is_inside(int l) const { return l >= 0 && l + V <= f.seqlen; }

  /// The input at a position of a sequence or up to width - 1 before it.
  OPHIS_KERNEL_FUNCTION T input(const Sequence& sequence, int l) const {
    return l >= sequence.begin ? x[l] : f.template input_before<width>(sequence, l, channel);
  }

  /// What there is of a vector in the row and its initial state, else zeros.
  OPHIS_KERNEL_FUNCTION void copy(int l, T* to) const {
    OPHIS_UNROLL_BY(1)
    for (int i = 0; i < V; ++i, ++l) {
      const bool exists = l < f.seqlen && l > -width;
      to[i] = exists ? input({row, 0, f.seqlen}, l) : T{};
    }
  }

  /// Whether some of the positions [begin, end) of a packed row see a sequence's start.
  OPHIS_KERNEL_FUNCTION bool cuts(int begin, int end) const {
    if (!f.cu_seqlens) return false;
    begin = std::max(begin, 0);
    if (begin >= f.seqlen) return false;
    const Sequence sequence = f.sequence_at(row, begin);
    return begin - (width - 1) < sequence.begin || std::min(end, f.seqlen) > sequence.end;
  }

  /// The outputs of the vector at l, of which some taps lie in another sequence.
  OPHIS_KERNEL_FUNCTION void output_one_by_one(int l) const {
    float column[width][1];
    OPHIS_UNROLL
    for (int k = 0; k < width; ++k) column[k][0] = weight[0][k];
    OPHIS_UNROLL_BY(1)
    for (const int end = std::min(l + V, f.seqlen); l < end; ++l) {
      if (l < 0) continue;
      const Sequence sequence = f.sequence_at(row, l);
      float taps[width][1], sum[1];
      OPHIS_UNROLL
      for (int k = 0; k < width; ++k) {
        taps[k][0] = Access::to_float(input(sequence, l - (width - 1) + k));
      }
      convolve<Access>(column, bias[0], f.silu, taps, sum);
      out[l] = Access::template from_float<T>(sum[0]);
    }
  }

  /// The same, where all taps are in `vector` and the width - 1 inputs before it.
  template <bool all_inside>
  OPHIS_KERNEL_FUNCTION void output(int l, const Vector<T>& vector,
                                    const float (&previous)[width - 1]) const {
    float own[V], taps[width][V], weights[width][V], biases[V], sums[V];
    OPHIS_UNROLL
    for (int i = 0; i < V; ++i) {
      OPHIS_UNROLL
      for (int k = 0; k < width; ++k) weights[k][i] = weight[0][k];
      biases[i] = bias[0][0];
    }
    Access::unpack(vector, own);
    OPHIS_UNROLL
    for (int k = 0; k < width; ++k) {
      OPHIS_UNROLL
      for (int i = 0; i < V; ++i) {
        const int at = i + k - (width - 1);
        taps[k][i] = at >= 0 ? own[at < 0 ? 0 : at] : previous[at >= 0 ? 0 : at + width - 1];
      }
    }
    convolve<Access>(weights, biases, f.silu, taps, sums);
    if (all_inside || is_inside(l)) {
      Access::store(out + l, Access::template pack<T>(sums));
    } else {
      OPHIS_UNROLL
      for (int i = 0; i < V; ++i) {
        if (l + i >= 0 && l + i < f.seqlen) out[l + i] = Access::template from_float<T>(sums[i]);
      }
    }
  }

  /// The last width - 1 elements of a vector.
  static OPHIS_KERNEL_FUNCTION void tail(const Vector<T>& vector, float (&to)[width - 1]) {
    float values[V];
    Access::unpack(vector, values);
    OPHIS_UNROLL
    for (int i = 0; i < width - 1; ++i) to[i] = values[V - (width - 1) + i];
  }
};

}  // namespace ophis::causal_conv1d_gpu
