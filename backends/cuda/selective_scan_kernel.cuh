// The kernel of selective_scan for NVIDIA GPUs of compute capability 8.0 and later.
//
// A lane has 16 consecutive positions of a channel, a segment: their step sizes, inputs and outputs stay in
// registers while it goes through the states, one or two at a time. The 32 segments of a warp are one segment
// of 32 channels, or `segments` neighbouring ones of fewer channels. A segment starts from the state that the
// one before it leaves: so each lane is some states behind the lane before it in time, and each warp behind
// the warp before it. The warps of a block are a ring that walks through a sequence and hands the states on
// through shared memory, with barriers on which all lanes arrive for what they have written themselves; in
// all else the warps are independent of each other.
//
// All forms compute the same sums in the same order. What limits them is the rate of instructions: on Hopper
// an exponential takes as many issue slots as four multiply-adds.
#pragma once

#include "backends/cuda/parameter.cuh"
#include "backends/cuda/tensor_core.cuh"
#include "ophis/ops/selective_scan.hpp"

namespace ophis::selective_scan_cuda {

/// u, delta, z or out: dense along channels, or along time.
struct Activation {
  void* data;
  std::int64_t batch_stride;
  std::int64_t stride;  // of the axis that is not dense
  std::int64_t round;   // from a warp's turn to its next, in elements

  /// `round_positions`: between a warp's turns.
  Activation(const Tensor& tensor, bool time_dense, int round_positions)
      : data(tensor.raw()),
        batch_stride(tensor ? tensor.stride(0) : 0),
        stride(tensor ? tensor.stride(time_dense ? 2 : 1) : 0),
        round(round_positions * (time_dense ? 1 : stride)) {}
};

/// B or C: dense along dstate, or along time.
struct Coefficient {
  const void* data;
  std::int64_t batch_stride, group_stride;
  std::int64_t stride;  // of the axis that is not dense
  std::int64_t round;
  int channels_per_group;

  Coefficient(const Tensor& tensor, std::int64_t dim, bool time_dense, int round_positions)
      : data(tensor.raw()),
        batch_stride(tensor.stride(0)),
        group_stride(tensor.stride(2)),
        stride(tensor.stride(time_dense ? 3 : 1)),
        round(round_positions * (time_dense ? 1 : stride)),
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
  cuda::Parameter A, D, delta_bias;
  States initial_states, final_states;
  const std::int32_t* cu_seqlens;
  std::int64_t seqlen;
  int dim, dstate, channel_blocks;
  bool delta_softplus;
};

inline constexpr int max_threads = 512;
inline constexpr int segment = 16;      // positions of a lane
inline constexpr int state_block = 16;  // states whose B and C are in shared memory at a time

/// How a warp is made up, and the shared memory of a block.
template <class T_, bool time_dense_, int segments_, int together_>
struct Form {
  using T = T_;
  static constexpr bool time_dense = time_dense_;
  static constexpr int segments = segments_;
  static constexpr int together = together_;  // states that a lane works on and hands on at a time
  static_assert(state_block % together == 0);
  static constexpr int channels = 32 / segments, positions = segment * segments;
  /// Whether 16-bit elements are transposed on their way from shared memory.
  static constexpr bool by_matrices = sizeof(T) == 2 && !time_dense;
  /// Tiles of activations, and of B and C as they come, are made of units of 16 bytes.
  static constexpr int unit = 16 / static_cast<int>(sizeof(T));
  static constexpr int row_units = (time_dense ? positions : channels) / unit;
  static constexpr int tile_units = channels * positions / unit;
  static constexpr int coefficient_units = 2 * state_block * positions / unit;
  /// B and C in float32, (state, {B, C}, position); segments are padded for the banks.
  static constexpr int segment_pitch = segments == 1 ? segment : segment + 4;
  static constexpr int state_pitch = segments * segment_pitch;

  // In bytes. For each warp:
  static constexpr int tile_size = tile_units * 16;
  static constexpr int tiles = 0;  // delta, u, and z, which the output replaces; for this turn and the next
  static constexpr int raw_coefficients = tiles + 6 * tile_size;
  static constexpr int coefficients = raw_coefficients + coefficient_units * 16;
  static constexpr int warp_size = coefficients + state_block * 2 * state_pitch * 4;
  /// And for all: A log2(e) and the state, (dstate, channel) each, and barriers, (warp, dstate / together).
  static constexpr int shared_bytes(int warps, int dstate) {
    return warps * warp_size + dstate * channels * 8 + warps * (dstate / together) * 8;
  }

  __device__ static int coefficient_index(int which, int state, int position) {
    return (state * 2 + which) * state_pitch + position / segment * segment_pitch + position % segment;
  }
  /// Where a unit of a tile is. They are permuted for the banks.
  __device__ static int unit_index(int channel, int position) {
    const int index =
        time_dense ? channel * row_units + position / unit : position * row_units + channel / unit;
    return index ^ (index >> 3 & 7);
  }
};

__device__ inline float silu(float x) {
  return x * cuda::reciprocal_fast(1.0f + cuda::exp2_fast(-cuda::log2_e * x));
}

/// The part of a sequence that a block works on.
struct Span {
  std::int64_t sequence, batch, begin;
  int length, first_channel;
};

/// Copies a warp's tiles between global and shared memory; each lane some of the units.
template <class Form>
struct Mover {
  using T = typename Form::T;
  static constexpr bool time_dense = Form::time_dense;

  unsigned char* shared;        // of this warp
  int lane, channel, position;  // of this lane's first unit, in the tile
  int channels;                 // that exist, from the tile's first
  const Params& p;
  const T *delta, *u, *z, *B, *C;  // this lane's first unit of the tile
  T* out;

  __device__ Mover(const Params& params, unsigned char* shared_memory, const Span& span, int first_position)
      : shared(shared_memory),
        lane(static_cast<int>(threadIdx.x) % 32),
        channel(time_dense ? lane / Form::row_units : lane % Form::row_units * Form::unit),
        position(time_dense ? lane % Form::row_units * Form::unit : lane / Form::row_units),
        channels(params.dim - span.first_channel),
        p(params) {
    const std::int64_t begin = span.begin + first_position;
    const auto activation = [&](const Activation& a) {
      const std::int64_t d = span.first_channel + channel, l = begin + position;
      return static_cast<T*>(a.data) + span.batch * a.batch_stride +
             (time_dense ? d * a.stride + l : l * a.stride + d);
    };
    const auto coefficient = [&](const Coefficient& c) {
      const std::int64_t n = coefficient_state(0), l = begin + coefficient_position(0);
      return static_cast<const T*>(c.data) + span.batch * c.batch_stride +
             span.first_channel / c.channels_per_group * c.group_stride +
             (time_dense ? n * c.stride + l : l * c.stride + n);
    };
    delta = activation(p.delta), u = activation(p.u), z = activation(p.z), out = activation(p.out);
    B = coefficient(p.B), C = coefficient(p.C);
  }

  __device__ unsigned char* tile(int turn, int which) const {
    return shared + Form::tiles + (turn % 2 * 3 + which) * Form::tile_size;
  }

  /// This lane has the units k = 0 ... units - 1, `step` rows apart.
  static constexpr int units = Form::tile_units / 32, step = 32 / Form::row_units;
  static_assert(32 % Form::row_units == 0);
  __device__ int unit_channel(int k) const { return channel + (time_dense ? k * step : 0); }
  __device__ int unit_position(int k) const { return position + (time_dense ? 0 : k * step); }
  __device__ int unit_offset(int k) const { return Form::unit_index(unit_channel(k), unit_position(k)) * 16; }
  /// `length`: positions from the tile's first to the sequence's end.
  __device__ bool exists(int k, int length) const {
    return unit_channel(k) < channels && unit_position(k) < length;
  }
  __device__ void fetch_activations(int turn, int length) const {
    const std::uint32_t tiles = cuda::shared_address(tile(turn, 0));
#pragma unroll
    for (int k = 0; k < units; ++k) {
      const bool valid = exists(k, length);
      const std::uint32_t to = tiles + static_cast<std::uint32_t>(unit_offset(k));
      cuda::copy_async(to, delta + k * step * p.delta.stride, valid);
      cuda::copy_async(to + Form::tile_size, u + k * step * p.u.stride, valid);
      if (p.z.data) cuda::copy_async(to + 2 * Form::tile_size, z + k * step * p.z.stride, valid);
    }
  }
  /// To the next turn.
  __device__ void advance_inputs() {
    delta += p.delta.round, u += p.u.round, z += p.z.round, B += p.B.round, C += p.C.round;
  }

  /// And on to the next turn.
  __device__ void store(int turn, int length) {
    const unsigned char* const from = tile(turn, 2);
#pragma unroll
    for (int k = 0; k < units; ++k) {
      if (exists(k, length))
        *reinterpret_cast<uint4*>(out + k * step * p.out.stride) =
            *reinterpret_cast<const uint4*>(from + unit_offset(k));
    }
    out += p.out.round;
  }

  // B and C come in units along states, or with time_dense along positions; neighbouring lanes have
  // neighbouring positions. Units from coefficient_count / 2 on are C's.
  static constexpr int coefficient_count = Form::coefficient_units / 32;
  static constexpr int coefficient_rows = time_dense ? Form::row_units : Form::positions;
  __device__ static constexpr int coefficient_position_to(int k) {
    return k * 32 % coefficient_rows * (time_dense ? Form::unit : 1);
  }
  __device__ static constexpr int coefficient_state_to(int k) {
    return k * 32 / coefficient_rows * (time_dense ? 1 : Form::unit);
  }
  __device__ int coefficient_position(int k) const {
    return lane % coefficient_rows * (time_dense ? Form::unit : 1) + coefficient_position_to(k);
  }
  __device__ int coefficient_state(int k) const {
    return lane / coefficient_rows * (time_dense ? 1 : Form::unit) + coefficient_state_to(k);
  }

  __device__ void fetch_coefficients(int first_state, int length) const {
    const std::uint32_t to =
        cuda::shared_address(shared + Form::raw_coefficients) + static_cast<std::uint32_t>(lane * 16);
    const auto fetch = [&](const T* from, std::int64_t stride, int k, int which) {
      const std::int64_t n = first_state + coefficient_state_to(k), l = coefficient_position_to(k);
      cuda::copy_async(to + static_cast<std::uint32_t>((k + which * coefficient_count / 2) * 32 * 16),
                       from + (time_dense ? n * stride + l : l * stride + n),
                       coefficient_position(k) < length);
    };
#pragma unroll
    for (int k = 0; k < coefficient_count / 2; ++k) {
      fetch(B, p.B.stride, k, 0);
      fetch(C, p.C.stride, k, 1);
    }
  }

  /// To float32, positions side by side.
  __device__ void convert_coefficients() const {
    const T* const from = reinterpret_cast<const T*>(shared + Form::raw_coefficients);
    float* const to = reinterpret_cast<float*>(shared + Form::coefficients);
    if constexpr (Form::by_matrices) {
      // A row of a matrix is eight states at a position. Each lane gets four positions of two states.
      const std::uint32_t row =
          cuda::shared_address(from) +
          static_cast<std::uint32_t>(
              (lane / 16 * Form::positions + lane % 8 / 2 * 4 + lane / 8 % 2 * 2 + lane % 2) * 16);
#pragma unroll
      for (int k = 0; k < 2 * Form::segments; ++k) {
        const int which = k / Form::segments, s = k % Form::segments;
        std::uint32_t r[4];
        cuda::load_matrices_transposed(
            r, row + static_cast<std::uint32_t>((which * 2 * Form::positions + s * segment) * 16));
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float2 a = cuda::unpack<T>(r[2 * half]), b = cuda::unpack<T>(r[2 * half + 1]);
          *reinterpret_cast<float4*>(to + Form::coefficient_index(which, half * 8 + lane / 4, s * segment) +
                                     lane % 4 * 4) = {a.x, a.y, b.x, b.y};
        }
      }
    } else {
#pragma unroll
      for (int k = 0; k < coefficient_count; ++k) {
        const int l = coefficient_position(k), n = coefficient_state(k);
        const auto unit =
            *reinterpret_cast<const cuda::Vec<T, Form::unit>*>(from + (lane + k * 32) * Form::unit);
        float* const first = to + Form::coefficient_index(n / state_block, n % state_block, l);
#pragma unroll
        for (int e = 0; e < Form::unit; e += time_dense ? 4 : 1) {
          if constexpr (time_dense)
            *reinterpret_cast<float4*>(first + e) = {
                cuda::to_float(unit.lanes[e]), cuda::to_float(unit.lanes[e + 1]),
                cuda::to_float(unit.lanes[e + 2]), cuda::to_float(unit.lanes[e + 3])};
          else
            first[e * 2 * Form::state_pitch] = cuda::to_float(unit.lanes[e]);
        }
      }
    }
  }
};

/// A lane's segment of a tile to and from registers.
template <class Form>
struct Segment {
  using T = typename Form::T;
  static constexpr bool by_matrices = Form::by_matrices;

  int index, channel, position;  // of the segments of the channel, and in the tile
  std::uint32_t rows[2];         // by_matrices: where the rows that this lane names lie

  __device__ explicit Segment(int lane)
      : index(lane % Form::segments),
        channel(channel_of(lane % 4, lane / 4)),
        position(index * segment),
        rows{} {
    // Rows 2 q and 2 q + 1 of a matrix are two positions of the eight channels that lanes q + 4 k have.
    const int q = lane % 8 / 2, first = q % Form::segments * segment + lane / 8 * 2 + lane % 2;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      rows[half] = static_cast<std::uint32_t>(Form::unit_index(channel_of(q, 0), first + half * 8) * 16);
  }
  __device__ static int channel_of(int q, int k) { return q / Form::segments * 8 + k; }

  __device__ void load(float (&to)[segment], const unsigned char* tile) const {
    if constexpr (by_matrices) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t pairs[4];
        cuda::load_matrices_transposed(pairs, cuda::shared_address(tile) + rows[half]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 pair = cuda::unpack<T>(pairs[i]);
          to[half * 8 + 2 * i] = pair.x, to[half * 8 + 2 * i + 1] = pair.y;
        }
      }
    } else if constexpr (Form::time_dense) {
#pragma unroll
      for (int i = 0; i < segment; i += Form::unit) {
        const auto unit = *reinterpret_cast<const cuda::Vec<T, Form::unit>*>(
            tile + Form::unit_index(channel, position + i) * 16);
#pragma unroll
        for (int k = 0; k < Form::unit; ++k) to[i + k] = cuda::to_float(unit.lanes[k]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < segment; ++i) to[i] = cuda::to_float(*element(tile, i));
    }
  }

  __device__ void store(const float (&from)[segment], unsigned char* tile) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (by_matrices) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          pairs[i] = cuda::pack<T>(from[half * 8 + 2 * i], from[half * 8 + 2 * i + 1]);
        cuda::store_matrices_transposed(cuda::shared_address(tile) + rows[half], pairs[0], pairs[1], pairs[2],
                                        pairs[3]);
      }
      return;
    }
#endif
    if constexpr (Form::time_dense) {
#pragma unroll
      for (int i = 0; i < segment; i += Form::unit) {
        cuda::Vec<T, Form::unit> unit;
#pragma unroll
        for (int k = 0; k < Form::unit; ++k) unit.lanes[k] = cuda::from_float<T>(from[i + k]);
        *reinterpret_cast<cuda::Vec<T, Form::unit>*>(tile + Form::unit_index(channel, position + i) * 16) =
            unit;
      }
    } else {
#pragma unroll
      for (int i = 0; i < segment; ++i) *element(tile, i) = cuda::from_float<T>(from[i]);
    }
  }

 private:
  template <class Byte>
  __device__ auto element(Byte* tile, int i) const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    return reinterpret_cast<Element*>(tile + Form::unit_index(channel, position + i) * 16) +
           channel % Form::unit;
  }
};

__device__ inline void load_four(float (&to)[4], const float* from) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

/// What a lane holds of its segment while it goes through the states.
struct Scan {
  float steps[segment], inputs[segment], y[segment];  // s = delta', s u, and the sums so far

  template <class Form>
  __device__ void start(const Segment<Form>& own, const unsigned char* delta_tile,
                        const unsigned char* u_tile, int positions, float bias, float D, bool softplus) {
    own.load(steps, delta_tile);
    own.load(inputs, u_tile);
#pragma unroll
    for (int i = 0; i < segment; ++i) steps[i] += bias;
    if (softplus) {
#pragma unroll
      for (int i = 0; i < segment; ++i) steps[i] = cuda::softplus_fast(steps[i]);
    }
    if (positions < segment) {
#pragma unroll
      for (int i = 0; i < segment; ++i) {
        if (i >= positions) steps[i] = 0.0f;  // the state must stay as it is beyond the end
      }
    }
#pragma unroll
    for (int i = 0; i < segment; ++i) {
      y[i] = D * inputs[i];
      inputs[i] *= steps[i];
    }
  }

  /// Runs the recurrence of `count` states from `h`, and leaves there what they become. `rates`: A log2(e);
  /// `B`, and C behind it, are of this segment.
  template <class Form, int count>
  __device__ void advance(float (&h)[count], const float (&rates)[count], const float* B) {
    float decays[count][segment];
#pragma unroll
    for (int i = 0; i < segment; ++i) {
#pragma unroll
      for (int n = 0; n < count; ++n) decays[n][i] = cuda::exp2_fast(steps[i] * rates[n]);
    }
#pragma unroll
    for (int i = 0; i < segment; i += 4) {
      float b[count][4], c[count][4];
#pragma unroll
      for (int n = 0; n < count; ++n) {
        load_four(b[n], B + n * 2 * Form::state_pitch + i);
        load_four(c[n], B + (n * 2 + 1) * Form::state_pitch + i);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int n = 0; n < count; ++n) {
          h[n] = fmaf(decays[n][i + k], h[n], inputs[i + k] * b[n][k]);
          y[i + k] = fmaf(c[n][k], h[n], y[i + k]);
        }
      }
    }
  }
};

template <class Form>
__global__ void __launch_bounds__(max_threads, 1) selective_scan_kernel(const __grid_constant__ Params p) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int threads = static_cast<int>(blockDim.x), warps = threads / 32;
  Span span{blockIdx.x / static_cast<unsigned>(p.channel_blocks), 0, 0, static_cast<int>(p.seqlen),
            static_cast<int>(blockIdx.x % static_cast<unsigned>(p.channel_blocks)) * Form::channels};
  span.batch = span.sequence;
  if (p.cu_seqlens) {
    span.batch = 0;
    span.begin = p.cu_seqlens[span.sequence];
    span.length = static_cast<int>(p.cu_seqlens[span.sequence + 1] - span.begin);
  }
  unsigned char* const own_shared = shared + warp * Form::warp_size;
  float* const rates = reinterpret_cast<float*>(shared + warps * Form::warp_size);
  float* const states = rates + p.dstate * Form::channels;
  const std::uint32_t barriers = cuda::shared_address(states + p.dstate * Form::channels);

  // `left`: positions from those of this warp's turn to the sequence's end.
  int left = span.length - warp * Form::positions;
  const int round = warps * Form::positions;
  Mover<Form> mover(p, own_shared, span, warp * Form::positions);
  if (left > 0) {
    mover.fetch_coefficients(0, left);
    mover.fetch_activations(0, left);
  }
  for (int i = thread; i < p.dstate * Form::channels; i += threads) {
    const int n = i % p.dstate, channel = i / p.dstate, d = span.first_channel + channel;
    const bool valid = d < p.dim;
    rates[n * Form::channels + channel] = valid ? cuda::log2_e * p.A.at(d, n) : 0.0f;
    states[n * Form::channels + channel] =
        valid && p.initial_states.data ? *p.initial_states.at(span.sequence, d, n) : 0.0f;
  }
  for (int i = thread; i < warps * p.dstate / Form::together; i += threads)
    cuda::barrier_init(barriers + static_cast<std::uint32_t>(i * 8), 32);
  __syncthreads();

  const Segment<Form> own(lane);
  const bool channel_exists = own.channel < mover.channels;
  const float D = channel_exists ? p.D.at(span.first_channel + own.channel) : 0.0f;
  const float bias = channel_exists ? p.delta_bias.at(span.first_channel + own.channel) : 0.0f;
  const float* const coefficients =
      reinterpret_cast<const float*>(own_shared + Form::coefficients) + own.index * Form::segment_pitch;
  constexpr int together = Form::together, steps = state_block / together;
  Scan scan;
  for (int turn = 0; left > 0; ++turn, left -= round) {
    const bool is_first = turn == 0 && warp == 0;
    const auto parity = static_cast<std::uint32_t>(warp > 0 ? turn : turn - 1) & 1;
    for (int first = 0; first < p.dstate; first += state_block) {
      cuda::wait_copies();
      __syncwarp();
      mover.convert_coefficients();
      if (first == 0)
        scan.start(own, mover.tile(turn, 0), mover.tile(turn, 1), left - own.position, bias, D,
                   p.delta_softplus);
      __syncwarp();
      if (first + state_block < p.dstate) {
        mover.fetch_coefficients(first + state_block, left);
      } else if (left > round) {
        mover.advance_inputs();
        mover.fetch_coefficients(0, left - round);
        mover.fetch_activations(turn + 1, left - round);
      }

      const float* const rate = rates + first * Form::channels + own.channel;
      float* const state = states + first * Form::channels + own.channel;
      const auto barriers_of = [&](int w) {
        return barriers + static_cast<std::uint32_t>((w * p.dstate + first) / together) * 8;
      };
      const std::uint32_t before = barriers_of(warp > 0 ? warp - 1 : warps - 1), after = barriers_of(warp);
      float h[together] = {};
#pragma unroll(4 / together)
      for (int i = 0; i < steps + Form::segments - 1; ++i) {
        const int n = (i - own.index) * together, handed_on = i - (Form::segments - 1);
        if constexpr (Form::segments > 1) {
#pragma unroll
          for (int k = 0; k < together; ++k) h[k] = __shfl_up_sync(0xffffffffu, h[k], 1, Form::segments);
          __syncwarp();  // the lane that has last read a state is not the one that writes it
        }
        if (i < steps && !is_first) cuda::barrier_wait(before + static_cast<std::uint32_t>(i * 8), parity);
        if (Form::segments == 1 || (n >= 0 && n < state_block)) {
          float own_rates[together];
#pragma unroll
          for (int k = 0; k < together; ++k) {
            own_rates[k] = rate[(n + k) * Form::channels];
            if (own.index == 0) h[k] = state[(n + k) * Form::channels];
          }
          scan.advance<Form>(h, own_rates, coefficients + n * 2 * Form::state_pitch);
          if (own.index == Form::segments - 1) {
#pragma unroll
            for (int k = 0; k < together; ++k) state[(n + k) * Form::channels] = h[k];
          }
        }
        if (handed_on >= 0) cuda::barrier_arrive(after + static_cast<std::uint32_t>(handed_on * 8));
      }
    }
    unsigned char* const tile = mover.tile(turn, 2);
    if (p.z.data) {
      float z[segment];
      own.load(z, tile);
#pragma unroll
      for (int i = 0; i < segment; ++i) scan.y[i] *= silu(z[i]);
      __syncwarp();  // the warp has read what it now overwrites
    }
    own.store(scan.y, tile);
    __syncwarp();
    mover.store(turn, left);
    __syncwarp();
  }
  if (!p.final_states.data) return;
  __syncthreads();
  for (int i = thread; i < p.dstate * Form::channels; i += threads) {
    const int n = i % p.dstate, channel = i / p.dstate, d = span.first_channel + channel;
    if (d < p.dim) *p.final_states.at(span.sequence, d, n) = states[n * Form::channels + channel];
  }
}

}  // namespace ophis::selective_scan_cuda
