// The convolution reads and writes every element once, so its kernels move 16 bytes per access and keep
// several accesses in flight. Both sum products in the order of the portable kernel.
#include "backends/cuda/causal_conv1d_cuda.hpp"

#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/vector_access.cuh"

namespace ophis {
namespace {

using cuda::load_streaming;
using cuda::Packed;
using cuda::store_streaming;
using cuda::to_float;
using cuda::Vec;
using cuda::vector_width;

constexpr int lanes = 32;

/// A tensor as kernels see it; tests false where none is given.
template <class T, int rank>
struct View {
  T* data = nullptr;
  std::int64_t strides[rank] = {};

  View() = default;
  explicit View(const Tensor& tensor) : data(static_cast<T*>(tensor.raw())) {
    if (tensor) std::copy_n(tensor.strides().begin(), rank, strides);
  }
  __device__ explicit operator bool() const { return data != nullptr; }
  template <class... Index>
  __device__ T* at(Index... index) const {
    static_assert(sizeof...(Index) == rank);
    const std::int64_t indices[] = {static_cast<std::int64_t>(index)...};
    T* address = data;
#pragma unroll
    for (int i = 0; i < rank; ++i) address += indices[i] * strides[i];
    return address;
  }
};

/// Calls f with the C++ type of a compute dtype, on the device.
template <class F>
__device__ void with_type(DType dtype, const F& f) {
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
  template <int n, int width>
  __device__ void load(int first_channel, int channel_step, int end, float (&to)[n][width]) const {
    with_type(dtype, [&]<class P>(P) {
      P elements[n][width];
#pragma unroll
      for (int i = 0; i < n; ++i) {
        const int channel = first_channel + i * channel_step;
        const P* from = static_cast<const P*>(data) + channel * strides[0];
#pragma unroll
        for (int k = 0; k < width; ++k) elements[i][k] = data && channel < end ? from[k * strides[1]] : P{};
      }
#pragma unroll
      for (int i = 0; i < n; ++i) {
#pragma unroll
        for (int k = 0; k < width; ++k) to[i][k] = to_float(elements[i][k]);
      }
    });
  }
};

/// Where a sequence lies: positions [begin, end) of its row.
struct Sequence {
  int index, begin, end;
};

template <class T>
struct Forward {
  View<const T, 3> x, initial_states;
  View<T, 3> out, final_states;
  Parameter weight, bias;
  const std::int32_t* cu_seqlens;
  int batch, seqlen, dim, nseq;
  bool silu;
  bool writes_final;  // by the forward kernel, whose launch otherwise is followed by one of final_state

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

  __device__ Sequence sequence(int i) const {
    if (!cu_seqlens) return {i, 0, seqlen};
    return {i, cu_seqlens[i], cu_seqlens[i + 1]};
  }
  /// The sequence that holds position l of a row.
  __device__ Sequence sequence_at(int row, int l) const {
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
  /// The input at a position of a sequence or up to width - 1 before it.
  template <int width>
  __device__ T input(int row, const Sequence& sequence, int l, int channel) const {
    if (l >= sequence.begin) return *x.at(row, l, channel);
    if (!initial_states) return T{};
    return *initial_states.at(sequence.index, channel, l - sequence.begin + width - 1);
  }
  /// Slots are written in rising order and read at or above the one being written, so final_states may be the
  /// memory of initial_states.
  template <int width>
  __device__ void write_final_state(int row, const Sequence& sequence, int channel) const {
#pragma unroll
    for (int slot = 0; slot < width - 1; ++slot) {
      *final_states.at(sequence.index, channel, slot) =
          input<width>(row, sequence, sequence.end - (width - 1) + slot, channel);
    }
  }
};

__device__ float silu(float x) {
  float reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(1.0f + cuda::exp2_fast(-x * cuda::log2_e)));
  return x * reciprocal;
}

/// The outputs of N channels or positions; taps[k] are the inputs of filter tap k.
template <int N, int width>
__device__ void convolve(const float (&weight)[width][N], const float (&bias)[N], bool apply_silu,
                         const float (&taps)[width][N], float (&sums)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    sums[i] = bias[i];
#pragma unroll
    for (int k = 0; k < width; ++k) sums[i] = fmaf(weight[k][i], taps[k][i], sums[i]);
  }
  if (!apply_silu) return;
#pragma unroll
  for (int i = 0; i < N; ++i) sums[i] = silu(sums[i]);
}

/// A thread's vectors on their way from memory, in the order in which they are fetched. In shared memory, so
/// that registers do not limit how many there are; no other thread sees them.
template <class T, int depth>
class Stream {
 public:
  static constexpr int V = vector_width<T>;

  /// `slots` are (depth, lanes), of the warp.
  __device__ Stream(uint4* slots, int lane) : m_slots(slots + lane) {}

  /// Where the next vector goes, for a caller that writes it there.
  __device__ T* slot() const { return reinterpret_cast<T*>(m_slots + m_next * lanes); }
  /// Starts the next vector.
  __device__ void fetch(const T* from) {
    __pipeline_memcpy_async(slot(), from, cuda::vector_bytes);
    skip();
  }
  /// Counts a vector that is not read, or that the caller has written.
  __device__ void skip() {
    __pipeline_commit();
    m_next = (m_next + 1) % depth;
  }
  /// Waits for the oldest of `depth` vectors.
  __device__ Packed<T, V> take() const {
    __pipeline_wait_prior(depth - 1);
    const uint4 words = m_slots[m_next * lanes];
    return {words.x, words.y, words.z, words.w};
  }

 private:
  uint4* m_slots;
  int m_next = 0;
};

/// Channels are dense: a block computes a tile of warps * rows positions of 32 * V channels, which it first
/// copies to shared memory whole: small tiles, so that what is read and written at one time lies close
/// together. A thread owns V channels of `rows` positions.
template <class T, int width, int rows, int warps, int min_blocks>
__global__ void __launch_bounds__(warps* lanes, min_blocks)
    channels_last(const __grid_constant__ Forward<T> f, int channel_blocks, int time_blocks) {
  constexpr int V = vector_width<T>, threads = warps * lanes, block_channels = lanes * V, before = width - 1;
  __shared__ uint4 inputs[before + warps * rows][lanes];
  __shared__ float weights[width][block_channels], biases[block_channels];
  cuda::wait_for_previous_kernel();
  const int block = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x);
  const int warp = static_cast<int>(threadIdx.y), index = warp * lanes + lane;
  const int first_channel = block % channel_blocks * block_channels, channel = first_channel + lane * V;
  const int row = block / channel_blocks / time_blocks;
  const int first = block / channel_blocks % time_blocks * (warps * rows);
#pragma unroll
  for (int i = 0; i < rows + (before + warps - 1) / warps; ++i) {
    const int slot = i * warps + warp, l = first - before + slot;
    if (slot < before + warps * rows && l >= 0 && l < f.seqlen && channel < f.dim) {
      __pipeline_memcpy_async(&inputs[slot][lane], f.x.at(row, l, channel), cuda::vector_bytes);
    }
  }
  __pipeline_commit();

  constexpr int n = block_channels / threads;
  static_assert(block_channels % threads == 0);
  float own_weight[n][width], own_bias[n][1];
  f.weight.load(first_channel + index, threads, f.dim, own_weight);
  f.bias.load(first_channel + index, threads, f.dim, own_bias);
#pragma unroll
  for (int i = 0; i < n; ++i) {
#pragma unroll
    for (int k = 0; k < width; ++k) weights[k][index + i * threads] = own_weight[i][k];
    biases[index + i * threads] = own_bias[i][0];
  }
  __pipeline_wait_prior(0);
  __syncthreads();

  int l = first + warp * rows;
  const int end = min(l + rows, f.seqlen);
  if (l >= end || channel >= f.dim) return;
  float weight[width][V], bias[V], taps[width][V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
#pragma unroll
    for (int k = 0; k < width; ++k) weight[k][i] = weights[k][lane * V + i];
    bias[i] = biases[lane * V + i];
  }
  const auto load = [&](int position, float(&to)[V]) {
    const uint4 words = inputs[position - first + before][lane];
    cuda::unpack(Packed<T, V>{words.x, words.y, words.z, words.w}, to);
  };
  Sequence sequence{};
  while (l < end) {
    sequence = f.sequence_at(row, l);
    // taps[k] hold the inputs before position l from k = 1 on.
#pragma unroll
    for (int k = 1; k < width; ++k) {
      const int position = l - width + k;
      if (position >= sequence.begin) {
        load(position, taps[k]);
      } else {
#pragma unroll
        for (int i = 0; i < V; ++i) {
          taps[k][i] = to_float(f.template input<width>(row, sequence, position, channel + i));
        }
      }
    }
    T* to = f.out.at(row, l, channel);
    const int stop = min(end, sequence.end);
#pragma unroll 4
    for (; l < stop; ++l, to += f.out.strides[1]) {
#pragma unroll
      for (int k = 0; k + 1 < width; ++k) {
#pragma unroll
        for (int i = 0; i < V; ++i) taps[k][i] = taps[k + 1][i];
      }
      load(l, taps[width - 1]);
      float sums[V];
      convolve(weight, bias, f.silu, taps, sums);
      store_streaming(to, cuda::pack<T>(sums));
    }
  }
  if (f.writes_final && end == sequence.end) {
    for (int i = 0; i < V; ++i) f.template write_final_state<width>(row, sequence, channel + i);
  }
}

/// Time is dense: a warp walks along one channel in runs of 32 vectors; a lane gets the inputs before its own
/// from its neighbour. Vectors start at multiples of 16 bytes in memory, so those at the ends of a row may be
/// incomplete.
template <class T, int width, int depth>
struct ChannelsFirst {
  static constexpr int V = vector_width<T>;
  static constexpr int run_length = lanes * V;

  const Forward<T>& f;
  int row, channel, lane;
  const T* x;
  T* out;
  float weight[1][width], bias[1][1];

  __device__ bool is_inside(int l) const { return l >= 0 && l + V <= f.seqlen; }

  /// What there is of a vector in the row and its initial state, else zeros.
  __device__ void copy(int l, T* to) const {
#pragma unroll 1
    for (int i = 0; i < V; ++i, ++l) {
      const bool exists = l < f.seqlen && l > -width;
      to[i] = exists ? f.template input<width>(row, {row, 0, f.seqlen}, l, channel) : T{};
    }
  }

  template <bool all_inside>
  __device__ void fetch(Stream<T, depth>& stream, int l, int end) const {
    if (l < end && (all_inside || is_inside(l))) return stream.fetch(x + l);
    if (!all_inside && l < end) copy(l, stream.slot());
    stream.skip();
  }

  /// The last width - 1 elements of the previous lane's vector; for the first lane, of `before`, which the
  /// last lane hands on.
  __device__ void from_previous_lane(const Packed<T, V>& vector, const Packed<T, V>& before,
                                     float (&to)[width - 1]) const {
    constexpr int words = Packed<T, V>::count;
    constexpr int first = words - ((width - 1) * static_cast<int>(sizeof(T)) + 3) / 4;
    Packed<T, V> previous{};
#pragma unroll
    for (int i = first; i < words; ++i) {
      const std::uint32_t word = lane == lanes - 1 ? before.words[i] : vector.words[i];
      previous.words[i] = __shfl_sync(0xffffffffu, word, (lane + lanes - 1) % lanes);
    }
    float values[V];
    cuda::unpack(previous, values);
#pragma unroll
    for (int i = 0; i < width - 1; ++i) to[i] = values[V - (width - 1) + i];
  }

  /// Whether some of the positions [begin, end) of a packed row see a sequence's start.
  __device__ bool cuts(int begin, int end) const {
    if (!f.cu_seqlens) return false;
    begin = max(begin, 0);
    if (begin >= f.seqlen) return false;
    const Sequence sequence = f.sequence_at(row, begin);
    return begin - (width - 1) < sequence.begin || min(end, f.seqlen) > sequence.end;
  }

  /// The same as the fast path, for a vector of which some taps lie in another sequence.
  __device__ void output_one_by_one(int l) const {
    float column[width][1];
#pragma unroll
    for (int k = 0; k < width; ++k) column[k][0] = weight[0][k];
#pragma unroll 1
    for (const int end = min(l + V, f.seqlen); l < end; ++l) {
      if (l < 0) continue;
      const Sequence sequence = f.sequence_at(row, l);
      float taps[width][1], sum[1];
#pragma unroll
      for (int k = 0; k < width; ++k) {
        taps[k][0] = to_float(f.template input<width>(row, sequence, l - (width - 1) + k, channel));
      }
      convolve(column, bias[0], f.silu, taps, sum);
      out[l] = cuda::from_float<T>(sum[0]);
    }
  }

  /// The outputs at the positions [first, end), which begin with a vector. `edge` is the lane's.
  template <bool all_inside>
  __device__ void run(Stream<T, depth> stream, int first, int end, uint4* edge) {
    int l = first + lane * V;
#pragma unroll
    for (int u = 0; u < depth; ++u) fetch<all_inside>(stream, l + u * run_length, end);
    f.weight.load(channel, 0, f.dim, weight);
    f.bias.load(channel, 0, f.dim, bias);
    Packed<T, V> before{};
    if (is_inside(first - V)) {
      before = load_streaming<V>(x + first - V, lane == lanes - 1);
    } else if (f.initial_states || first > 0) {
      copy(first - V, reinterpret_cast<T*>(edge));
      before = {edge->x, edge->y, edge->z, edge->w};
    }
    const bool is_cut = !all_inside && cuts(first, end);
    float weights[width][V], biases[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
#pragma unroll
      for (int k = 0; k < width; ++k) weights[k][i] = weight[0][k];
      biases[i] = bias[0][0];
    }
    for (; first < end; first += run_length, l += run_length) {
      const Packed<T, V> vector = stream.take();
      fetch<all_inside>(stream, l + depth * run_length, end);
      float own[V], previous[width - 1];
      from_previous_lane(vector, before, previous);
      before = vector;
      if (l >= end) continue;
      if (is_cut && cuts(l, l + V)) {
        output_one_by_one(l);
        continue;
      }
      cuda::unpack(vector, own);
      float taps[width][V], sums[V];
#pragma unroll
      for (int k = 0; k < width; ++k) {
#pragma unroll
        for (int i = 0; i < V; ++i) {
          const int at = i + k - (width - 1);
          taps[k][i] = at >= 0 ? own[at < 0 ? 0 : at] : previous[at >= 0 ? 0 : at + width - 1];
        }
      }
      convolve(weights, biases, f.silu, taps, sums);
      if (all_inside || is_inside(l)) {
        store_streaming(out + l, cuda::pack<T>(sums));
      } else {
#pragma unroll
        for (int i = 0; i < V; ++i) {
          if (l + i >= 0 && l + i < f.seqlen) out[l + i] = cuda::from_float<T>(sums[i]);
        }
      }
    }
  }
};

template <class T, int width, int depth, int warps, int min_blocks>
__global__ void __launch_bounds__(warps* lanes, min_blocks)
    channels_first(const __grid_constant__ Forward<T> f, int time_blocks, int runs) {
  using Thread = ChannelsFirst<T, width, depth>;
  __shared__ uint4 streams[warps][depth][lanes], edges[warps][lanes];
  cuda::wait_for_previous_kernel();
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const unsigned item = blockIdx.x * warps + threadIdx.y;
  const int tile = static_cast<int>(item % static_cast<unsigned>(time_blocks));
  const int channel = static_cast<int>(item / static_cast<unsigned>(time_blocks));
  if (channel >= f.dim) return;
  const int row = static_cast<int>(blockIdx.y);
  const T* const x = f.x.at(row, 0, channel);
  Thread thread{f, row, channel, lane, x, f.out.at(row, 0, channel)};
  const int shift = static_cast<int>(reinterpret_cast<std::uintptr_t>(x) % cuda::vector_bytes / sizeof(T));
  const int first = tile * runs * Thread::run_length - shift;
  const int end = min(first + runs * Thread::run_length, f.seqlen);
  if (shift == 0 && f.seqlen % Thread::V == 0 && !f.cu_seqlens) {
    thread.template run<true>({streams[warp][0], lane}, first, end, &edges[warp][lane]);
  } else {
    thread.template run<false>({streams[warp][0], lane}, first, end, &edges[warp][lane]);
  }
  if (f.writes_final && tile == time_blocks - 1 && lane == 0) {
    f.template write_final_state<width>(row, {row, 0, f.seqlen}, channel);
  }
}

/// A thread writes the final state of one channel of one sequence.
template <class T, int width>
__global__ void final_state(const __grid_constant__ Forward<T> f) {
  cuda::wait_for_previous_kernel();
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (channel >= f.dim) return;
  for (int i = static_cast<int>(blockIdx.y); i < f.nseq; i += static_cast<int>(gridDim.y)) {
    f.template write_final_state<width>(f.cu_seqlens ? 0 : i, f.sequence(i), channel);
  }
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Warps of a block, vectors that a thread has on their way, blocks that fit a multiprocessor.
constexpr int block_warps = 4, stream_depth = 8;
constexpr int channels_last_blocks = 4, channels_first_blocks = 8;
constexpr int channels_first_runs = 8, channels_last_rows = 8;  // of a warp

template <class T, int width>
void launch_channels_last(ExecContext& exec, const Forward<T>& f) {
  const std::int64_t channel_blocks = divide_up(f.dim, lanes * vector_width<T>);
  const std::int64_t time_blocks = divide_up(f.seqlen, block_warps * channels_last_rows);
  const auto grid = static_cast<unsigned>(channel_blocks * time_blocks * f.batch);
  cuda::launch_overlapped("causal_conv1d", exec,
                          channels_last<T, width, channels_last_rows, block_warps, channels_last_blocks>,
                          dim3(grid), dim3(lanes, block_warps), 0, f, static_cast<int>(channel_blocks),
                          static_cast<int>(time_blocks));
}

template <class T, int width>
void launch_channels_first(ExecContext& exec, const Forward<T>& f, int max_shift) {
  constexpr std::int64_t tile = channels_first_runs * lanes * vector_width<T>;
  const std::int64_t time_blocks = divide_up(f.seqlen + max_shift, tile);
  const dim3 grid(static_cast<unsigned>(divide_up(time_blocks * f.dim, block_warps)),
                  static_cast<unsigned>(f.batch));
  cuda::launch_overlapped("causal_conv1d", exec,
                          channels_first<T, width, stream_depth, block_warps, channels_first_blocks>, grid,
                          dim3(lanes, block_warps), 0, f, static_cast<int>(time_blocks), channels_first_runs);
}

template <class T, int width>
void launch_final_state(ExecContext& exec, const Forward<T>& f) {
  constexpr int threads = 128;
  const dim3 grid(static_cast<unsigned>(divide_up(f.dim, threads)),
                  static_cast<unsigned>(std::min(f.nseq, 65535)));
  cuda::launch_overlapped("causal_conv1d", exec, final_state<T, width>, grid, dim3(threads), 0, f);
}

/// Calls f with the C++ type of the dtype and the width, as types.
template <class F>
void dispatch(DType dtype, std::int64_t width, const F& f) {
  dispatch_compute_dtype(dtype, [&]<class T>(std::type_identity<T> type) {
    switch (width) {
      case 2:
        return f(type, std::integral_constant<int, 2>{});
      case 3:
        return f(type, std::integral_constant<int, 3>{});
      default:
        return f(type, std::integral_constant<int, 4>{});
    }
  });
}

constexpr std::int64_t largest_extent = std::int64_t{1} << 30;

const char* why_not_parameters(Device device, const Tensor& weight, Activation activation) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (weight.extent(1) < 2 || weight.extent(1) > 4) return "it takes widths 2, 3 and 4";
  if (activation != Activation::identity && activation != Activation::silu)
    return "it takes identity and silu";
  return nullptr;
}

/// Whether every run of elements along `axis` starts at a multiple of `bytes`.
bool is_aligned(const Tensor& tensor, int axis, int bytes) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  if (reinterpret_cast<std::uintptr_t>(tensor.raw()) % static_cast<std::uintptr_t>(bytes) != 0) return false;
  for (int i = 0; i < tensor.rank(); ++i) {
    if (i != axis && tensor.extent(i) > 1 && tensor.stride(i) * size % bytes != 0) return false;
  }
  return true;
}

bool is_channels_last(const CausalConv1dArgs& args) {
  const auto bytes = static_cast<std::int64_t>(size_of(args.x.dtype())) * args.x.extent(2);
  return args.x.stride(2) == 1 && args.out.stride(2) == 1 && bytes % cuda::vector_bytes == 0 &&
         is_aligned(args.x, 2, cuda::vector_bytes) && is_aligned(args.out, 2, cuda::vector_bytes);
}

/// Time is dense, and vectors of x and out start at the same positions.
bool is_channels_first(const CausalConv1dArgs& args) {
  if (args.x.stride(1) != 1 || args.out.stride(1) != 1) return false;
  const auto size = static_cast<std::int64_t>(size_of(args.x.dtype()));
  const auto distance =
      reinterpret_cast<std::intptr_t>(args.x.raw()) - reinterpret_cast<std::intptr_t>(args.out.raw());
  if (distance % cuda::vector_bytes != 0) return false;
  for (const int axis : {0, 2}) {
    const std::int64_t difference = args.x.stride(axis) - args.out.stride(axis);
    if (args.x.extent(axis) > 1 && difference * size % cuda::vector_bytes != 0) return false;
  }
  return true;
}

/// One step of V neighbouring channels a thread.
template <class T>
struct Update {
  View<const T, 2> x;
  View<T, 3> conv_state;
  View<T, 2> out;
  Parameter weight, bias;
  int batch, dim;
  bool silu;

  explicit Update(const CausalConv1dUpdateArgs& args)
      : x(args.x),
        conv_state(args.conv_state),
        out(args.out),
        weight(args.weight),
        bias(args.bias),
        batch(static_cast<int>(args.x.extent(0))),
        dim(static_cast<int>(args.x.extent(1))),
        silu(args.activation == Activation::silu) {}
};

/// V elements in one access.
template <int V, class T>
__device__ Vec<T, V> load_vector(const T* from) {
  return *reinterpret_cast<const Vec<T, V>*>(from);
}

template <class T, int width, int V>
__global__ void update(const __grid_constant__ Update<T> f) {
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (channel >= f.dim) return;
  float weight[V][width], bias[V][1];
  cuda::wait_for_previous_kernel();
  f.weight.load(channel, 1, f.dim, weight);
  f.bias.load(channel, 1, f.dim, bias);
  for (int b = static_cast<int>(blockIdx.y); b < f.batch; b += static_cast<int>(gridDim.y)) {
    Vec<T, V> inputs[width], result;
#pragma unroll
    for (int k = 0; k + 1 < width; ++k) inputs[k] = load_vector<V>(f.conv_state.at(b, channel, k));
    inputs[width - 1] = load_vector<V>(f.x.at(b, channel));
#pragma unroll
    for (int i = 0; i < V; ++i) {
      float taps[width][1], column[width][1], sum[1];
#pragma unroll
      for (int k = 0; k < width; ++k) {
        taps[k][0] = to_float(inputs[k].lanes[i]);
        column[k][0] = weight[i][k];
      }
      convolve(column, bias[i], f.silu, taps, sum);
      result.lanes[i] = cuda::from_float<T>(sum[0]);
    }
#pragma unroll
    for (int k = 0; k + 1 < width; ++k) {
      *reinterpret_cast<Vec<T, V>*>(f.conv_state.at(b, channel, k)) = inputs[k + 1];
    }
    *reinterpret_cast<Vec<T, V>*>(f.out.at(b, channel)) = result;
  }
}

template <class T, int width, int V>
void launch_update(ExecContext& exec, const Update<T>& f) {
  constexpr int threads = 64;
  const dim3 grid(static_cast<unsigned>(divide_up(f.dim, threads * V)),
                  static_cast<unsigned>(std::min(f.batch, 65535)));
  cuda::launch_overlapped("causal_conv1d_update", exec, update<T, width, V>, grid, dim3(threads), 0, f);
}

/// Bytes of a vector of the update: small, so that one step of one sequence occupies many multiprocessors.
constexpr int update_bytes = 8;

}  // namespace

const char* causal_conv1d_cuda::why_not(Device device, const CausalConv1dArgs& args) {
  if (const char* reason = why_not_parameters(device, args.weight, args.activation)) return reason;
  if (args.seq_idx) return "it does not take seq_idx";
  if (std::max({args.x.extent(0), args.x.extent(1), args.x.extent(2)}) > largest_extent) {
    return "it takes extents up to 2^30";
  }
  if (args.x.extent(0) > 65535) return "it takes batches up to 65535";
  if (!is_channels_last(args) && !is_channels_first(args)) {
    return "channels or time must be dense in x and out, in rows aligned to 16 bytes";
  }
  return nullptr;
}

void causal_conv1d_cuda::run(ExecContext& exec, const CausalConv1dArgs& args) {
  dispatch(args.x.dtype(), args.weight.extent(1),
           [&]<class T, int width>(std::type_identity<T>, std::integral_constant<int, width>) {
             const Forward<T> f(args);
             if (args.x.count() > 0) {
               if (is_channels_last(args)) {
                 launch_channels_last<T, width>(exec, f);
               } else {
                 const int max_shift = is_aligned(args.x, 1, cuda::vector_bytes) ? 0 : vector_width<T> - 1;
                 launch_channels_first<T, width>(exec, f, max_shift);
               }
             }
             if (args.final_states.count() > 0 && !f.writes_final) launch_final_state<T, width>(exec, f);
           });
}

const char* causal_conv1d_update_cuda::why_not(Device device, const CausalConv1dUpdateArgs& args) {
  if (const char* reason = why_not_parameters(device, args.weight, args.activation)) return reason;
  if (args.conv_state.extent(2) != args.weight.extent(1) - 1) return "conv_state must hold width - 1 inputs";
  if (std::max(args.x.extent(0), args.x.extent(1)) > largest_extent) return "it takes extents up to 2^30";
  return nullptr;
}

void causal_conv1d_update_cuda::run(ExecContext& exec, const CausalConv1dUpdateArgs& args) {
  if (args.x.count() == 0) return;
  const auto is_dense = [](const Tensor& tensor) {
    return tensor.stride(1) == 1 && is_aligned(tensor, 1, update_bytes);
  };
  dispatch(args.x.dtype(), args.weight.extent(1),
           [&]<class T, int width>(std::type_identity<T>, std::integral_constant<int, width>) {
             constexpr int V = update_bytes / static_cast<int>(sizeof(T));
             const Update<T> f(args);
             if (f.dim % V == 0 && is_dense(args.x) && is_dense(args.conv_state) && is_dense(args.out)) {
               launch_update<T, width, V>(exec, f);
             } else {
               launch_update<T, width, 1>(exec, f);
             }
           });
}

}  // namespace ophis
