// causal_conv1d and its one-step update on NVIDIA GPUs.
#include "backends/cuda/causal_conv1d_cuda.hpp"

#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/vector_access.cuh"
#include "backends/gpu/causal_conv1d_kernel.hpp"
#include "backends/gpu/causal_conv1d_plan.hpp"

namespace ophis {
namespace {

using causal_conv1d_gpu::dispatch;
using causal_conv1d_gpu::Forward;
using causal_conv1d_gpu::is_aligned;
using causal_conv1d_gpu::is_channels_last;
using causal_conv1d_gpu::largest_extent;
using causal_conv1d_gpu::Parameter;
using causal_conv1d_gpu::Vector;
using causal_conv1d_gpu::View;
using cuda::load_streaming;
using cuda::Packed;
using cuda::Vec;
using cuda::vector_width;

constexpr int lanes = 32;

/// How the shared kernels do what NVIDIA's GPUs have instructions for.
struct Access {
  template <class T>
  static __device__ float to_float(T x) {
    return cuda::to_float(x);
  }
  template <class T>
  static __device__ T from_float(float x) {
    return cuda::from_float<T>(x);
  }
  template <class T, int V>
  static __device__ void unpack(const Packed<T, V>& from, float (&to)[V]) {
    cuda::unpack(from, to);
  }
  template <class T>
  static __device__ Vector<T> pack(const float (&from)[vector_width<T>]) {
    return cuda::pack<T>(from);
  }
  template <class T>
  static __device__ Vector<T> load(const T* from) {
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    return {words.x, words.y, words.z, words.w};
  }
  template <class T, int V>
  static __device__ void store(T* to, const Packed<T, V>& vector) {
    cuda::store_streaming(to, vector);
  }
  static __device__ float silu(float x) {
    return x * cuda::reciprocal_fast(1.0f + cuda::exp2_fast(-x * cuda::log2_e));
  }

  /// By the copy engine of the multiprocessor, past the registers.
  template <class T, int n>
  struct Copies {
    __device__ void start(int, T* to, const T* from, bool wanted) const {
      if (wanted) __pipeline_memcpy_async(to, from, cuda::vector_bytes);
    }
    __device__ void finish() const {
      __pipeline_commit();
      __pipeline_wait_prior(0);
    }
  };
};

/// A thread's vectors on their way from memory, in the order in which they are fetched. In shared memory, so
/// that registers do not limit how many there are; no other thread sees them.
template <class T, int depth>
class Stream {
 public:
  /// `slots` are (depth, lanes) vectors, of the warp.
  __device__ Stream(T* slots, int lane) : m_slots(slots + lane * vector_width<T>) {}

  /// Where the next vector goes, for a caller that writes it there.
  __device__ T* slot() const { return m_slots + m_next * lanes * vector_width<T>; }
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
  __device__ Vector<T> take() const {
    __pipeline_wait_prior(depth - 1);
    return Access::load(slot());
  }

 private:
  T* m_slots;
  int m_next = 0;
};

/// Tiles of channels are small, so that what is read and written at one time lies close together.
template <class Kernel, int min_blocks>
__global__ void __launch_bounds__(Kernel::threads, min_blocks)
    channels_last(const __grid_constant__ Kernel kernel) {
  __shared__ typename Kernel::Shared shared;
  cuda::wait_for_previous_kernel();
  const typename Kernel::Tile tile = kernel.tile(static_cast<int>(blockIdx.x));
  kernel.stage(shared, tile, static_cast<int>(threadIdx.x));
  __syncthreads();
  kernel.compute(shared, tile, static_cast<int>(threadIdx.x));
}

/// A warp walks along one channel in runs of 32 vectors; a lane gets the inputs before its own from its
/// neighbour.
template <class T, int width, int depth>
struct ChannelsFirst {
  static constexpr int V = vector_width<T>;
  static constexpr int run_length = lanes * V;

  causal_conv1d_gpu::ChannelRow<Access, T, width> channel;
  int lane;

  template <bool all_inside>
  __device__ void fetch(Stream<T, depth>& stream, int l, int end) const {
    if (l < end && (all_inside || channel.is_inside(l))) return stream.fetch(channel.x + l);
    if (!all_inside && l < end) channel.copy(l, stream.slot());
    stream.skip();
  }

  /// The last width - 1 elements of the previous lane's vector; for the first lane, of `before`, which the
  /// last lane hands on.
  __device__ void from_previous_lane(const Vector<T>& vector, const Vector<T>& before,
                                     float (&to)[width - 1]) const {
    constexpr int words = Vector<T>::count;
    constexpr int first = words - ((width - 1) * static_cast<int>(sizeof(T)) + 3) / 4;
    Vector<T> previous{};
#pragma unroll
    for (int i = first; i < words; ++i) {
      const std::uint32_t word = lane == lanes - 1 ? before.words[i] : vector.words[i];
      previous.words[i] = __shfl_sync(0xffffffffu, word, (lane + lanes - 1) % lanes);
    }
    channel.tail(previous, to);
  }

  /// The outputs at the positions [first, end), which begin with a vector. `edge` is the lane's.
  template <bool all_inside>
  __device__ void run(Stream<T, depth> stream, int first, int end, T* edge) {
    int l = first + lane * V;
#pragma unroll
    for (int u = 0; u < depth; ++u) fetch<all_inside>(stream, l + u * run_length, end);
    channel.load_parameters();
    Vector<T> before{};
    if (channel.is_inside(first - V)) {
      before = load_streaming<V>(channel.x + first - V, lane == lanes - 1);
    } else if (channel.f.initial_states || first > 0) {
      channel.copy(first - V, edge);
      before = Access::load(edge);
    }
    const bool is_cut = !all_inside && channel.cuts(first, end);
    for (; first < end; first += run_length, l += run_length) {
      const Vector<T> vector = stream.take();
      fetch<all_inside>(stream, l + depth * run_length, end);
      float previous[width - 1];
      from_previous_lane(vector, before, previous);
      before = vector;
      if (l >= end) continue;
      if (is_cut && channel.cuts(l, l + V)) {
        channel.output_one_by_one(l);
      } else {
        channel.template output<all_inside>(l, vector, previous);
      }
    }
  }
};

template <class T, int width, int depth, int warps, int min_blocks>
__global__ void __launch_bounds__(warps* lanes, min_blocks)
    channels_first(const __grid_constant__ Forward<T> f, int time_blocks, int runs) {
  using Thread = ChannelsFirst<T, width, depth>;
  alignas(cuda::vector_bytes) __shared__ T streams[warps][depth * Thread::run_length],
      edges[warps][Thread::run_length];
  cuda::wait_for_previous_kernel();
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const unsigned item = blockIdx.x * warps + threadIdx.y;
  const int tile = static_cast<int>(item % static_cast<unsigned>(time_blocks));
  const int channel = static_cast<int>(item / static_cast<unsigned>(time_blocks));
  if (channel >= f.dim) return;
  const int row = static_cast<int>(blockIdx.y);
  Thread thread{{f, row, channel}, lane};
  const int shift = thread.channel.shift(), first = tile * runs * Thread::run_length - shift;
  const int end = min(first + runs * Thread::run_length, f.seqlen);
  if (shift == 0 && f.seqlen % Thread::V == 0 && !f.cu_seqlens) {
    thread.template run<true>({streams[warp], lane}, first, end, &edges[warp][lane * Thread::V]);
  } else {
    thread.template run<false>({streams[warp], lane}, first, end, &edges[warp][lane * Thread::V]);
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
    f.template write_final_state<width>(i, channel);
  }
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Warps of a block, vectors that a thread has on their way, blocks that fit a multiprocessor.
constexpr int block_warps = 4, stream_depth = 8;
constexpr int channels_last_blocks = 4, channels_first_blocks = 8;
constexpr int channels_first_runs = 8, channels_last_rows = 8;  // of a warp

template <class T, int width>
void launch_channels_last(ExecContext& exec, const Forward<T>& f) {
  using Kernel = causal_conv1d_gpu::ChannelsLast<Access, T, width, lanes, block_warps, channels_last_rows>;
  const Kernel kernel(f);
  cuda::launch_overlapped("causal_conv1d", exec, channels_last<Kernel, channels_last_blocks>,
                          dim3(static_cast<unsigned>(kernel.blocks())), dim3(Kernel::threads), 0, kernel);
}

template <class T, int width>
void launch_channels_first(ExecContext& exec, const Forward<T>& f, std::int64_t max_shift) {
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
  f.weight.template load<Access>(channel, 1, f.dim, weight);
  f.bias.template load<Access>(channel, 1, f.dim, bias);
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
        taps[k][0] = cuda::to_float(inputs[k].lanes[i]);
        column[k][0] = weight[i][k];
      }
      causal_conv1d_gpu::convolve<Access>(column, bias[i], f.silu, taps, sum);
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
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  return causal_conv1d_gpu::why_not_arguments(args);
}

void causal_conv1d_cuda::run(ExecContext& exec, const CausalConv1dArgs& args) {
  dispatch(args.x.dtype(), args.weight.extent(1),
           [&]<class T, int width>(std::type_identity<T>, std::integral_constant<int, width>) {
             const Forward<T> f(args);
             if (args.x.count() > 0) {
               if (is_channels_last(args)) {
                 launch_channels_last<T, width>(exec, f);
               } else {
                 launch_channels_first<T, width>(exec, f, causal_conv1d_gpu::largest_shift<T>(args));
               }
             }
             if (args.final_states.count() > 0 && !f.writes_final) launch_final_state<T, width>(exec, f);
           });
}

const char* causal_conv1d_update_cuda::why_not(Device device, const CausalConv1dUpdateArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (const char* reason = causal_conv1d_gpu::why_not_parameters(args.weight, args.activation)) return reason;
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
