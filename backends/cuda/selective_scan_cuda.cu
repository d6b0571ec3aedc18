// selective_scan with one pass over time. A block of threads owns some channels of one sequence and walks
// through it in tiles of positions. Half of its warps, the edge, read the tensors, turn them into the step
// size s = delta', the input s u and float32 tiles of B and C in shared memory, and later gate and write the
// sums; the other half, the core, hold A and the states in registers and run the recurrence. The two work on
// neighbouring tiles at the same time and hand over through named barriers.
//
// The limit is the special function unit, which makes one exponential in the time of eight multiply-adds.
#include "backends/cuda/selective_scan_cuda.hpp"

#include <array>
#include <span>

#include "backends/cuda/parameter.cuh"
#include "ophis/core/cuda.hpp"

namespace ophis::selective_scan_cuda {
namespace {

using cuda::exp2_fast;
using cuda::from_float;
using cuda::log2_e;
using cuda::Parameter;
using cuda::to_float;
using cuda::Vec;

/// u, delta, z or out: dense along channels, or along time.
struct Activation {
  void* data;
  std::int64_t batch_stride;
  std::int64_t stride;  // of the axis that is not dense

  Activation(const Tensor& tensor, bool time_dense)
      : data(tensor.raw()),
        batch_stride(tensor ? tensor.stride(0) : 0),
        stride(tensor ? tensor.stride(time_dense ? 2 : 1) : 0) {}
};

/// B or C.
struct Coefficient {
  const void* data;
  std::int64_t batch_stride, time_stride, group_stride, state_stride;
  int channels_per_group;

  Coefficient(const Tensor& tensor, std::int64_t dim)
      : data(tensor.raw()),
        batch_stride(tensor.stride(0)),
        time_stride(tensor.stride(1)),
        group_stride(tensor.stride(2)),
        state_stride(tensor.stride(3)),
        channels_per_group(static_cast<int>(dim / tensor.extent(2))) {}
};

/// (nseq, dim, dstate), or nothing.
struct States {
  float* data;
  std::int64_t strides[3];

  explicit States(const Tensor& tensor) : data(static_cast<float*>(tensor.raw())), strides{} {
    for (int i = 0; i < tensor.rank(); ++i) strides[i] = tensor.stride(i);
  }
  __device__ float* at(std::int64_t sequence, std::int64_t channel, std::int64_t n) const {
    return data + sequence * strides[0] + channel * strides[1] + n * strides[2];
  }
};

struct Params {
  Activation u, delta, z, out;
  Coefficient B, C;
  Parameter A, D, delta_bias;
  States initial_states, final_states;
  const std::int32_t* cu_seqlens;
  std::int64_t seqlen;
  int dim, channel_blocks;
  bool delta_softplus;
};

/// How a block is made up. N: dstate; each lane of the core holds `states` states of `channels` channels. The
/// sum over the states is made of chains of `chain` states and then of pairs, so that its bits do not depend
/// on how many lanes share a channel.
template <int N_, int states_, int channels_, int tile_, int chain_, int run_ = 4>
struct Form {
  static constexpr int N = N_, states = states_, channels = channels_, tile = tile_, chain = chain_;
  static constexpr int run = run_;  // positions that a lane of the core works on at a time
  static constexpr int lanes_per_channel = N / states;
  static constexpr int core_threads = 128, edge_threads = 128;
  static constexpr int threads = core_threads + edge_threads;
  static constexpr int block_channels = core_threads / lanes_per_channel * channels;
  static_assert(block_channels % 8 == 0 && states % chain == 0 && tile % 8 == 0);

  // Shared memory, twice for even and odd tiles, in floats.
  /// (tile, channel, {s, s u}); 16-byte units swizzled so that a thread may write 8 channels at once.
  static constexpr int step_size = 2 * tile * block_channels;
  /// (tile, {B, C}, state)
  static constexpr int coefficient_row = 2 * N;
  static constexpr int coefficient_size = tile * coefficient_row;
  /// (tile, channel, lane): sums over a lane's states, in runs of 8 channels, padded for the banks.
  static constexpr int sum_run = 8 * lanes_per_channel + (lanes_per_channel > 1 ? 4 : 0);
  static constexpr int sum_row = block_channels / 8 * sum_run;
  static constexpr int sum_size = tile * sum_row;
  static constexpr int stage_size = step_size + coefficient_size + sum_size;
  static constexpr int shared_bytes = 2 * stage_size * static_cast<int>(sizeof(float));

  __device__ static int step_index(int channel) {
    const int unit = channel / 2;
    return 4 * (unit ^ ((unit >> 3) & 3)) + channel % 2 * 2;
  }
  /// Lanes with two states find theirs of B and C together.
  __device__ static int coefficient_index(int which, int n) {
    return states == 2 ? n / 2 * 4 + which * 2 + n % 2 : which * N + n;
  }
  __device__ static int sum_index(int channel) {
    return channel / 8 * sum_run + channel % 8 * lanes_per_channel;
  }
};

template <class Form>
struct Stage {
  float* base;

  __device__ Stage(float* shared, int index) : base(shared + index % 2 * Form::stage_size) {}
  __device__ float* steps() const { return base; }
  __device__ float* coefficients() const { return base + Form::step_size; }
  __device__ float* sums() const { return base + Form::step_size + Form::coefficient_size; }
};

/// Named barriers (0 is __syncthreads): a tile's inputs are ready, its sums are.
__device__ inline int ready_barrier(int tile) { return 1 + tile % 2; }
__device__ inline int done_barrier(int tile) { return 3 + tile % 2; }

template <int threads>
__device__ void barrier_sync(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(threads) : "memory");
}
template <int threads>
__device__ void barrier_arrive(int id) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(threads) : "memory");
}

__device__ inline float reciprocal_fast(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

__device__ inline float silu(float x) { return x * reciprocal_fast(1.0f + exp2_fast(-log2_e * x)); }

/// log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|; log(1 + t) / t is a minimax fit (2e-7).
__device__ inline float softplus_fit(float x) {
  const float t = exp2_fast(-log2_e * fabsf(x));
  float p = -8.539206348e-3f;
  p = fmaf(p, t, 4.408962280e-2f);
  p = fmaf(p, t, -0.1076816991f);
  p = fmaf(p, t, 0.1774524003f);
  p = fmaf(p, t, -0.2449546307f);
  p = fmaf(p, t, 0.3327547908f);
  p = fmaf(p, t, -0.4999740422f);
  p = fmaf(p, t, 0.9999998212f);
  return fmaf(p, t, fmaxf(x, 0.0f));
}

/// The sum of `count` values in pairs of neighbours, pairs of pairs, and so on.
template <int count>
__device__ float pairwise_sum(const float (&values)[count]) {
  if constexpr (count == 1) {
    return values[0];
  } else {
    float pairs[count / 2];
#pragma unroll
    for (int i = 0; i < count / 2; ++i) pairs[i] = values[2 * i] + values[2 * i + 1];
    return pairwise_sum(pairs);
  }
}

template <int count>
__device__ void load_floats(float (&to)[count], const float* from) {
  constexpr int width = count % 4 == 0 ? 4 : count % 2 == 0 ? 2 : 1;
#pragma unroll
  for (int i = 0; i < count; i += width) {
    const auto v = *reinterpret_cast<const Vec<float, width>*>(from + i);
#pragma unroll
    for (int j = 0; j < width; ++j) to[i + j] = v.lanes[j];
  }
}

/// The recurrence of one lane. A lane works on a run of positions at a time; in it, on one chain of states
/// after the other.
template <class Form>
struct Core {
  static constexpr int S = Form::states, K = Form::channels, J = Form::chain, chains = S / J, run = Form::run;
  static constexpr int step_row = 2 * Form::block_channels;
  /// Whether B and C of a whole run fit into registers, to be read a run ahead.
  static constexpr bool early_coefficients = S <= 4;

  float A[K][S], h[K][S];      // A times log2(e)
  float steps[run][2 * K];     // {s, s u} of the channels
  float B[run][S], C[run][S];  // with early_coefficients
  float decay[K][J];           // of the first chain

  /// The decays of one chain at one position.
  __device__ void decays(int first, const float (&step)[2 * K], float (&to)[K][J]) const {
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        to[k][j] = exp2_fast(step[2 * k] * A[k][first + j]);
      }
    }
  }

  __device__ static void load_steps(float (&to)[run][2 * K], const float* from) {
#pragma unroll
    for (int i = 0; i < run; ++i) load_floats(to[i], from + i * step_row);
  }
  __device__ static void load_coefficients(float (&B)[run][S], float (&C)[run][S], const float* from) {
#pragma unroll
    for (int i = 0; i < run; ++i) load_chain(B[i], C[i], from + i * Form::coefficient_row, 0);
  }
  template <int count>
  __device__ static void load_chain(float (&B)[count], float (&C)[count], const float* from, int first) {
    if constexpr (S == 2) {
      float both[4];
      load_floats(both, from);
      B[0] = both[0], B[1] = both[1], C[0] = both[2], C[1] = both[3];
    } else {
      load_floats(B, from + first);
      load_floats(C, from + Form::N + first);
    }
  }

  /// Before the first run.
  __device__ void start(const float* first_steps, const float* first_coefficients) {
    load_steps(steps, first_steps);
    if constexpr (early_coefficients) load_coefficients(B, C, first_coefficients);
    decays(0, steps[0], decay);
  }

  /// Writes this lane's part of the channels' sums. Steps are read a run ahead and decays computed a chain
  /// ahead, so that the special function unit has work at any time.
  __device__ void advance(const float* coefficients, const float* next_steps, const float* next_coefficients,
                          float* sums) {
    float next[run][2 * K], next_B[run][S], next_C[run][S], y[run][K];
    load_steps(next, next_steps);
    if constexpr (early_coefficients) load_coefficients(next_B, next_C, next_coefficients);
#pragma unroll
    for (int i = 0; i < run; ++i) {
      float parts[K][chains];
#pragma unroll
      for (int c = 0; c < chains; ++c) {
        const int first = c * J;
        float ahead[K][J], b[J], e[J];
        if (c + 1 < chains)
          decays(first + J, steps[i], ahead);
        else
          decays(0, i + 1 < run ? steps[(i + 1) % run] : next[0], ahead);
        if constexpr (early_coefficients) {
#pragma unroll
          for (int j = 0; j < J; ++j) b[j] = B[i][first + j], e[j] = C[i][first + j];
        } else {
          load_chain(b, e, coefficients + i * Form::coefficient_row, first);
        }
#pragma unroll
        for (int k = 0; k < K; ++k) {
          float sum = 0.0f;
#pragma unroll
          for (int j = 0; j < J; ++j) {
            float& state = h[k][first + j];
            state = fmaf(decay[k][j], state, steps[i][2 * k + 1] * b[j]);
            sum = j == 0 ? e[j] * state : fmaf(e[j], state, sum);
            decay[k][j] = ahead[k][j];
          }
          parts[k][c] = sum;
        }
      }
#pragma unroll
      for (int k = 0; k < K; ++k) y[i][k] = pairwise_sum(parts[k]);
    }
#pragma unroll
    for (int i = 0; i < run; ++i) {
      if constexpr (K == 2 && Form::lanes_per_channel == 1) {
        *reinterpret_cast<float2*>(sums + i * Form::sum_row) = {y[i][0], y[i][1]};
      } else {
#pragma unroll
        for (int k = 0; k < K; ++k) sums[i * Form::sum_row + k * Form::lanes_per_channel] = y[i][k];
      }
#pragma unroll
      for (int k = 0; k < 2 * K; ++k) steps[i][k] = next[i][k];
      if constexpr (early_coefficients) {
#pragma unroll
        for (int n = 0; n < S; ++n) B[i][n] = next_B[i][n], C[i][n] = next_C[i][n];
      }
    }
  }
};

template <class Form>
__device__ void run_core(const Params& p, float* shared, std::int64_t sequence, int first_channel,
                         int tiles) {
  constexpr int S = Form::states, K = Form::channels, G = Form::lanes_per_channel;
  const int thread = static_cast<int>(threadIdx.x) - Form::edge_threads;
  const int lane = thread % G, channel = thread / G * K;  // of the block
  Core<Form> core;
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < S; ++n) {
      const int d = first_channel + channel + k, state = lane * S + n;
      core.A[k][n] = d < p.dim ? log2_e * p.A.at(d, state) : 0.0f;
      core.h[k][n] = d < p.dim && p.initial_states.data ? *p.initial_states.at(sequence, d, state) : 0.0f;
    }
  }
  const int step_offset = Form::step_index(channel), coefficient_offset = S == 2 ? lane * 4 : lane * S;
  if (tiles > 0) {
    const Stage<Form> stage(shared, 0);
    barrier_sync<Form::threads>(ready_barrier(0));
    core.start(stage.steps() + step_offset, stage.coefficients() + coefficient_offset);
  }
  for (int tile = 0; tile < tiles; ++tile) {
    const Stage<Form> stage(shared, tile), next_stage(shared, tile + 1);
    const float* steps = stage.steps() + step_offset;
    const float* coefficients = stage.coefficients() + coefficient_offset;
    float* sums = stage.sums() + Form::sum_index(channel) + lane;
#pragma unroll 1
    for (int t = 0; t < Form::tile; t += Form::run) {
      const float* const now = coefficients;
      steps += Form::run * Core<Form>::step_row;
      coefficients += Form::run * Form::coefficient_row;
      if (t == Form::tile - Form::run) {  // the next run is in the next tile, or does not exist
        steps = next_stage.steps() + step_offset;
        coefficients = next_stage.coefficients() + coefficient_offset;
        if (tile + 1 < tiles) barrier_sync<Form::threads>(ready_barrier(tile + 1));
      }
      core.advance(now, steps, coefficients, sums);
      sums += Form::run * Form::sum_row;
    }
    barrier_arrive<Form::threads>(done_barrier(tile));
  }
  if (!p.final_states.data) return;
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < S; ++n) {
      const int d = first_channel + channel + k;
      if (d < p.dim) *p.final_states.at(sequence, d, lane * S + n) = core.h[k][n];
    }
  }
}

/// Eight elements, along channels or along time, as they lie in memory.
template <class T>
struct Octet {
  uint4 words[sizeof(T) / 2];

  __device__ void load(const T* from) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T) / 2); ++i)
      words[i] = reinterpret_cast<const uint4*>(from)[i];
  }
  __device__ void clear() {
#pragma unroll
    for (uint4& word : words) word = {0, 0, 0, 0};
  }
  __device__ float operator[](int i) const {
    if constexpr (std::is_same_v<T, bfloat16>) {  // in one instruction
      const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(words)[i / 2];
      return __uint_as_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
    } else {
      return to_float(reinterpret_cast<const T*>(words)[i]);
    }
  }
  __device__ static void store(T* to, const float (&values)[8]) {
    Octet octet;
#pragma unroll
    for (int i = 0; i < 8; ++i) reinterpret_cast<T*>(octet.words)[i] = from_float<T>(values[i]);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T) / 2); ++i)
      reinterpret_cast<uint4*>(to)[i] = octet.words[i];
  }
};

/// What one thread of the edge does. It has `count` octets of every tile: 8 channels at one position, or with
/// time_dense 8 positions of one channel.
template <class T, class Form, bool time_dense>
struct Edge {
  static constexpr int rows = time_dense ? Form::block_channels : Form::block_channels / 8;  // octets abreast
  static constexpr int total = Form::block_channels / 8 * Form::tile;
  static constexpr int count = (total + Form::edge_threads - 1) / Form::edge_threads;
  static constexpr int parameters = time_dense ? count : 8;
  static_assert(rows % Form::edge_threads == 0 || Form::edge_threads % rows == 0);
  using Octets = Octet<T>[count];

  /// From octet 0 to octet k.
  __device__ static constexpr int channels_to(int k) {
    return k * Form::edge_threads % rows * (time_dense ? 1 : 8);
  }
  __device__ static constexpr int positions_to(int k) {
    return k * Form::edge_threads / rows * (time_dense ? 8 : 1);
  }

  /// One of the tensors: the address of octet 0 of a tile, moving with the tiles.
  struct Cursor {
    T* address;
    std::int64_t stride;

    __device__ Cursor(const Activation& tensor, std::int64_t b, std::int64_t l, std::int64_t d)
        : address(static_cast<T*>(tensor.data) + b * tensor.batch_stride +
                  (time_dense ? d * tensor.stride + l : l * tensor.stride + d)),
          stride(tensor.stride) {}
    __device__ T* octet(int k) const {
      return address + (time_dense ? channels_to(k) * stride + positions_to(k)
                                   : positions_to(k) * stride + channels_to(k));
    }
    __device__ void advance() { address += time_dense ? Form::tile : Form::tile * stride; }
  };

  int thread, channel, position;  // of octet 0, in the block and tile
  int channels, length;           // that exist, from the block's and the sequence's start
  bool softplus, gate;
  float D[parameters], bias[parameters];
  Cursor u, delta, z, out;

  __device__ Edge(const Params& p, std::int64_t batch, std::int64_t begin, int first_channel,
                  int sequence_length)
      : thread(static_cast<int>(threadIdx.x)),
        channel(thread % rows * (time_dense ? 1 : 8)),
        position(thread / rows * (time_dense ? 8 : 1)),
        channels(p.dim - first_channel),
        length(sequence_length),
        softplus(p.delta_softplus),
        gate(p.z.data != nullptr),
        u(p.u, batch, begin + position, first_channel + channel),
        delta(p.delta, batch, begin + position, first_channel + channel),
        z(p.z, batch, begin + position, first_channel + channel),
        out(p.out, batch, begin + position, first_channel + channel) {
#pragma unroll
    for (int i = 0; i < parameters; ++i) {
      const int d = channel + (time_dense ? channels_to(i) : i);
      D[i] = d < channels ? p.D.at(first_channel + d) : 0.0f;
      bias[i] = d < channels ? p.delta_bias.at(first_channel + d) : 0.0f;
    }
  }

  /// Whether this thread has an octet k in a tile at all.
  __device__ bool has(int k) const {
    return total % Form::edge_threads == 0 || position + positions_to(k) < Form::tile;
  }
  /// Whether octet k exists in the sequence.
  __device__ bool exists(int tile, int k) const {
    return has(k) && channel + channels_to(k) < channels &&
           tile * Form::tile + position + positions_to(k) < length;
  }

  /// Zeros where there is nothing.
  __device__ void load(Octets& to, Cursor& from, int tile) const {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      to[k].clear();
      if (exists(tile, k)) to[k].load(from.octet(k));
    }
    from.advance();
  }

  /// s and s u.
  __device__ void write_steps(const Octets& deltas, const Octets& us, int tile, float* steps) const {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (!has(k)) continue;
      float s[8], input[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float x = deltas[k][i] + bias[time_dense ? k : i], y = softplus_fit(x);
        s[i] = softplus ? y : x;
        input[i] = s[i] * us[k][i];
      }
      write_octet(s, input, k, steps);
    }
    if (length - tile * Form::tile >= Form::tile) return;
    // The state must stay as it is beyond the end.
    const float zeros[8] = {};
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (has(k) && !exists(tile, k)) write_octet(zeros, zeros, k, steps);
    }
  }

  __device__ void write_octet(const float (&s)[8], const float (&input)[8], int k, float* steps) const {
    constexpr int row = 2 * Form::block_channels;
    float* const to = steps + (position + positions_to(k)) * row;
    const int c = channel + channels_to(k);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if constexpr (time_dense)
        *reinterpret_cast<float2*>(to + i * row + Form::step_index(c)) = {s[i], input[i]};
      else if (i % 2 == 0)
        *reinterpret_cast<float4*>(to + Form::step_index(c + i)) = {s[i], input[i], s[i + 1], input[i + 1]};
    }
  }

  __device__ void read_sums(float (&y)[8], const float* sums, int k) const {
    constexpr int G = Form::lanes_per_channel;
    const float* const from =
        sums + (position + positions_to(k)) * Form::sum_row + Form::sum_index(channel + channels_to(k));
    if constexpr (G == 1 && !time_dense) {
      load_floats(y, from);
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float parts[G];
        load_floats(parts, from + i * (time_dense ? Form::sum_row : G));
        y[i] = pairwise_sum(parts);
      }
    }
  }

  /// Adds D u, gates and writes.
  __device__ void finish(const Octets& us, const Octets& zs, int tile, const float* sums) {
    float y[count][8];
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (!has(k)) continue;
      read_sums(y[k], sums, k);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        y[k][i] = fmaf(D[time_dense ? k : i], us[k][i], y[k][i]);
        y[k][i] *= gate ? silu(zs[k][i]) : 1.0f;
      }
    }
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (exists(tile, k)) Octet<T>::store(out.octet(k), y[k]);
    }
    out.advance();
  }
};

/// What one thread of the edge does with B and C: octets of 8 states at a position, or with time_dense 8
/// positions of a state, to float32.
template <class T, class Form, bool time_dense>
struct CoefficientEdge {
  static constexpr int rows =
      time_dense ? Form::coefficient_row : Form::coefficient_row / 8;  // octets abreast
  static constexpr int total = Form::coefficient_size / 8;
  static constexpr int count = (total + Form::edge_threads - 1) / Form::edge_threads;
  using Octets = Octet<T>[count];

  int thread = static_cast<int>(threadIdx.x);
  const T *B, *C;  // of this sequence and group
  std::int64_t B_time_stride, C_time_stride, B_state_stride, C_state_stride;

  __device__ static const T* start(const Coefficient& c, std::int64_t batch, std::int64_t begin,
                                   int channel) {
    return static_cast<const T*>(c.data) + batch * c.batch_stride + begin * c.time_stride +
           channel / c.channels_per_group * c.group_stride;
  }
  __device__ CoefficientEdge(const Params& p, std::int64_t batch, std::int64_t begin, int channel)
      : B(start(p.B, batch, begin, channel)),
        C(start(p.C, batch, begin, channel)),
        B_time_stride(p.B.time_stride),
        C_time_stride(p.C.time_stride),
        B_state_stride(p.B.state_stride),
        C_state_stride(p.C.state_stride) {}

  __device__ int index(int k) const { return thread + k * Form::edge_threads; }
  __device__ int position(int k) const { return index(k) / rows * (time_dense ? 8 : 1); }
  __device__ int state(int k) const {
    return index(k) % rows * (time_dense ? 1 : 8);
  }  // those of C after B's
  __device__ bool has(int k) const { return total % Form::edge_threads == 0 || index(k) < total; }

  /// `steps`: positions from the tile's start to the sequence's end. Zeros beyond.
  __device__ void load(Octets& to, std::int64_t begin, int steps) const {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const std::int64_t l = begin + position(k);
      const int n = state(k);
      to[k].clear();
      if (has(k) && position(k) < steps)
        to[k].load(n < Form::N ? B + l * B_time_stride + n * B_state_stride
                               : C + l * C_time_stride + (n - Form::N) * C_state_stride);
    }
  }
  __device__ void store(const Octets& from, float* coefficients) const {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (!has(k)) continue;
      float* const row = coefficients + position(k) * Form::coefficient_row;
      const int which = state(k) / Form::N, n = state(k) % Form::N;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if constexpr (time_dense)
          row[i * Form::coefficient_row + Form::coefficient_index(which, n)] = from[k][i];
        else if (i % 2 == 0)
          *reinterpret_cast<float2*>(row + Form::coefficient_index(which, n + i)) = {from[k][i],
                                                                                     from[k][i + 1]};
      }
    }
  }
};

template <class T, class Form, bool time_dense>
__device__ void run_edge(const Params& p, float* shared, std::int64_t batch, std::int64_t begin, int length,
                         int first_channel, int tiles) {
  using Lane = Edge<T, Form, time_dense>;
  using Coefficients = CoefficientEdge<T, Form, time_dense>;
  Lane edge(p, batch, begin, first_channel, length);
  const Coefficients coefficients(p, batch, begin, first_channel);
  typename Lane::Octets delta, u, last_u, last_z;
  typename Coefficients::Octets values;
  edge.load(delta, edge.delta, 0);
  edge.load(u, edge.u, 0);
  coefficients.load(values, 0, length);
  for (int tile = 0; tile < tiles; ++tile) {
    const Stage<Form> stage(shared, tile);
    edge.write_steps(delta, u, tile, stage.steps());
    coefficients.store(values, stage.coefficients());
    barrier_arrive<Form::threads>(ready_barrier(tile));

    const int next = (tile + 1) * Form::tile;
    coefficients.load(values, next, length - next);
    typename Lane::Octets next_u;
    edge.load(delta, edge.delta, tile + 1);
    edge.load(next_u, edge.u, tile + 1);
    if (tile > 0) {
      barrier_sync<Form::threads>(done_barrier(tile - 1));
      edge.finish(last_u, last_z, tile - 1, Stage<Form>(shared, tile - 1).sums());
    }
    if (edge.gate) edge.load(last_z, edge.z, tile);
#pragma unroll
    for (int k = 0; k < Lane::count; ++k) {
      last_u[k] = u[k];
      u[k] = next_u[k];
    }
  }
  if (tiles == 0) return;
  barrier_sync<Form::threads>(done_barrier(tiles - 1));
  edge.finish(last_u, last_z, tiles - 1, Stage<Form>(shared, tiles - 1).sums());
}

template <class T, class Form, bool time_dense, int blocks_per_multiprocessor>
__global__ void __launch_bounds__(Form::threads, blocks_per_multiprocessor)
    selective_scan_kernel(const __grid_constant__ Params p) {
  extern __shared__ __align__(16) float shared[];
  const std::int64_t sequence = blockIdx.x / static_cast<unsigned>(p.channel_blocks);
  const int first_channel =
      static_cast<int>(blockIdx.x % static_cast<unsigned>(p.channel_blocks)) * Form::block_channels;
  std::int64_t batch = sequence, begin = 0, end = p.seqlen;
  if (p.cu_seqlens) {
    batch = 0;
    begin = p.cu_seqlens[sequence];
    end = p.cu_seqlens[sequence + 1];
  }
  const int length = static_cast<int>(end - begin), tiles = (length + Form::tile - 1) / Form::tile;
  // The edge comes first: among warps that are ready the oldest is preferred, and the core is always ready.
  if (threadIdx.x < Form::edge_threads)
    run_edge<T, Form, time_dense>(p, shared, batch, begin, length, first_channel, tiles);
  else
    run_core<Form>(p, shared, sequence, first_channel, tiles);
}

/// One of the kernels, and what choosing it needs to know.
struct Variant {
  int block_channels, shared_bytes;
  int blocks_per_multiprocessor;
  int cost;  // of a position of one round of blocks, in ns on an H100
  void (*launch)(Params p, std::int64_t nseq, cudaStream_t stream);
};

template <class T, class Form, bool time_dense, int blocks_per_multiprocessor>
void launch(Params p, std::int64_t nseq, cudaStream_t stream) {
  const auto kernel = selective_scan_kernel<T, Form, time_dense, blocks_per_multiprocessor>;
  cuda::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Form::shared_bytes),
              "cudaFuncSetAttribute");
  p.channel_blocks = (p.dim + Form::block_channels - 1) / Form::block_channels;
  const dim3 grid(static_cast<unsigned>(nseq * p.channel_blocks));
  kernel<<<grid, Form::threads, Form::shared_bytes, stream>>>(p);
  cuda::check_launch("selective_scan");
}

template <class T, class Form, bool time_dense, int blocks_per_multiprocessor, int cost>
constexpr Variant make_variant() {
  return {Form::block_channels, Form::shared_bytes, blocks_per_multiprocessor, cost,
          launch<T, Form, time_dense, blocks_per_multiprocessor>};
}

/// The kernels for a dstate. Those of one list give the same bits, so that one may be chosen by the batch.
template <class T, bool time_dense>
std::span<const Variant> variants(std::int64_t dstate, std::int64_t dim) {
  // One lane a channel, and several for what has too few channels to fill the device.
  static constexpr std::array wide{make_variant<T, Form<16, 16, 1, 16, 4>, time_dense, 2, 196>(),
                                   make_variant<T, Form<16, 4, 1, 64, 4>, time_dense, 1, 37>(),
                                   make_variant<T, Form<16, 4, 1, 32, 4>, time_dense, 2, 69>()};
  static constexpr std::array narrow{make_variant<T, Form<16, 16, 1, 16, 2>, time_dense, 2, 196>(),
                                     make_variant<T, Form<16, 2, 1, 64, 2, 8>, time_dense, 1, 29>()};
  static constexpr std::array of_32{make_variant<T, Form<32, 16, 1, 16, 4>, time_dense, 2, 1>()};
  static constexpr std::array of_64{make_variant<T, Form<64, 16, 1, 16, 4>, time_dense, 2, 1>()};
  static constexpr std::array of_128{make_variant<T, Form<128, 16, 1, 16, 4>, time_dense, 2, 1>()};
  if (dstate == 16) return dim > 2048 ? std::span<const Variant>(wide) : std::span<const Variant>(narrow);
  if (dstate == 32) return of_32;
  if (dstate == 64) return of_64;
  if (dstate == 128) return of_128;
  return {};
}

std::int64_t sequences(const SelectiveScanArgs& args) {
  return args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.u.extent(0);
}

/// The fastest variant whose blocks fit the device and lie in one group each, or nullptr.
template <class T, bool time_dense>
const Variant* choose(Device device, const SelectiveScanArgs& args) {
  const cuda::DeviceProperties& properties = cuda::properties(device);
  const std::int64_t dim = args.u.extent(2);
  const auto fits = [&](const Tensor& coefficient, int channels) {
    const std::int64_t groups = coefficient.extent(2);
    return groups == 1 || dim / groups % channels == 0;
  };
  const Variant* best = nullptr;
  std::int64_t best_cost = 0;
  for (const Variant& v : variants<T, time_dense>(args.A.extent(1), dim)) {
    if (v.shared_bytes > properties.shared_memory_per_block) continue;
    if (!fits(args.B, v.block_channels) || !fits(args.C, v.block_channels)) continue;
    const std::int64_t blocks = sequences(args) * ((dim + v.block_channels - 1) / v.block_channels);
    const std::int64_t at_once = std::int64_t{properties.multiprocessors} * v.blocks_per_multiprocessor;
    const std::int64_t cost = (blocks + at_once - 1) / at_once * v.cost;
    if (blocks >= std::int64_t{1} << 31 || (best && cost >= best_cost)) continue;
    best = &v;
    best_cost = cost;
  }
  return best;
}

/// Whether octets along an axis can be read in 16-byte accesses.
bool in_octets(const Tensor& tensor, int axis) {
  if (!tensor) return true;
  const auto width = static_cast<std::int64_t>(16 / size_of(tensor.dtype()));
  for (int i = 0; i < tensor.rank(); ++i) {
    if (i == axis ? tensor.stride(i) != 1 : tensor.extent(i) > 1 && tensor.stride(i) % width != 0)
      return false;
  }
  return tensor.extent(axis) % 8 == 0 && reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0;
}

bool all_in_octets(const SelectiveScanArgs& args, bool time_dense) {
  const int axis = time_dense ? 1 : 2, coefficient_axis = time_dense ? 1 : 3;
  return in_octets(args.u, axis) && in_octets(args.delta, axis) && in_octets(args.z, axis) &&
         in_octets(args.out, axis) && in_octets(args.B, coefficient_axis) &&
         in_octets(args.C, coefficient_axis);
}

/// Calls f with the type of the activations and whether they are dense along time.
template <class F>
decltype(auto) with_layout(const SelectiveScanArgs& args, F f) {
  return dispatch_compute_dtype(args.u.dtype(), [&]<class T>(std::type_identity<T> type) {
    return all_in_octets(args, false) ? f(type, std::false_type{}) : f(type, std::true_type{});
  });
}

Params make_params(const SelectiveScanArgs& args, bool time_dense) {
  const std::int64_t dim = args.u.extent(2);
  return {Activation(args.u, time_dense),
          Activation(args.delta, time_dense),
          Activation(args.z, time_dense),
          Activation(args.out, time_dense),
          Coefficient(args.B, dim),
          Coefficient(args.C, dim),
          Parameter(args.A),
          Parameter(args.D),
          Parameter(args.delta_bias),
          States(args.initial_states),
          States(args.final_states),
          args.cu_seqlens ? args.cu_seqlens.data<std::int32_t>() : nullptr,
          args.u.extent(1),
          static_cast<int>(dim),
          0,
          args.delta_softplus};
}

}  // namespace

const char* why_not(Device device, const SelectiveScanArgs& args) {
  if (device.type != DeviceType::cuda) return "not on a CUDA device";
  if (args.B.rank() == 2 || args.C.rank() == 2) return "B or C is constant";
  if (args.u.extent(1) >= std::int64_t{1} << 30 || args.u.extent(2) >= std::int64_t{1} << 30)
    return "seqlen or dim is too large";
  const bool channels_dense = all_in_octets(args, false);
  if (!channels_dense && (args.cu_seqlens || !all_in_octets(args, true)))
    return "the layout does not allow 16-byte accesses";
  const bool any = with_layout(args, [&]<class T, class TimeDense>(std::type_identity<T>, TimeDense) {
    return choose<T, TimeDense::value>(device, args) != nullptr;
  });
  return any ? nullptr : "dstate is not 16, 32, 64 or 128, or groups are too small";
}

void run(ExecContext& exec, const SelectiveScanArgs& args) {
  if (sequences(args) == 0 || args.u.extent(2) == 0) return;
  with_layout(args, [&]<class T, class TimeDense>(std::type_identity<T>, TimeDense) {
    const Params params = make_params(args, TimeDense::value);
    choose<T, TimeDense::value>(exec.device(), args)->launch(params, sequences(args), cuda::stream(exec));
  });
}

}  // namespace ophis::selective_scan_cuda
