// selective_state_update: memory bound, as the state is read and written once. A thread holds four states of
// one channel, in one access; several channels a thread are slower here. The projection of dt is computed by
// the lanes of the channel, which read their part of its weight before the kernel before has ended.
#include "backends/cuda/selective_state_update_cuda.hpp"

#include "backends/cuda/fours.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/parameter.cuh"
#include "backends/cuda/vector_access.cuh"
#include "ops/common/state_dtype.hpp"

namespace ophis::selective_state_update_cuda {
namespace {

using cuda::from_float;
using cuda::in_fours;
using cuda::load4;
using cuda::Parameter;
using cuda::store4;
using cuda::to_float;

constexpr int threads = 128;
constexpr int most_dt_rows = 8;  // each of which reads dt_weight, from the second-level cache
constexpr int dt_pieces = 8;     // of a row of dt_weight, for a lane
template <class T>
constexpr int dt_piece = 16 / static_cast<int>(sizeof(T));  // elements of an access

/// (batch, dim) T, or nothing.
struct Activation {
  void* data;
  std::int64_t strides[2];

  explicit Activation(const Tensor& tensor)
      : data(tensor.raw()), strides{tensor ? tensor.stride(0) : 0, tensor ? tensor.stride(1) : 0} {}

  template <class T>
  __device__ T* at(std::int64_t b, std::int64_t channel) const {
    return static_cast<T*>(data) + b * strides[0] + channel * strides[1];
  }
};

/// B or C, dense along dstate.
struct Coefficient {
  const void* data;
  std::int64_t batch_stride, group_stride;
  int channels_per_group;

  Coefficient(const Tensor& tensor, std::int64_t dim)
      : data(tensor.raw()),
        batch_stride(tensor.stride(0)),
        group_stride(tensor.stride(1)),
        channels_per_group(static_cast<int>(dim / tensor.extent(1))) {}

  template <class T>
  __device__ const T* at(std::int64_t b, int channel) const {
    return static_cast<const T*>(data) + b * batch_stride + channel / channels_per_group * group_stride;
  }
};

struct Params {
  void* state;
  std::int64_t state_strides[2];  // batch, channel; dense along dstate
  Activation x, dt, z, out;
  Coefficient B, C;
  const float* A;  // dense along dstate
  std::int64_t A_stride;
  Parameter D, dt_bias;
  int dim;
  bool dt_softplus;
  const void* dt_weight;  // (dim, dt_rank) of T, or nullptr
  std::int64_t dt_weight_stride;
  int dt_rank;
};

template <int lanes>
__device__ float sum_over_lanes(float value) {
#pragma unroll
  for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

/// dt is given.
template <class T, int lanes>
struct GivenDt {
  __device__ GivenDt(const Params&, int, int) {}
  __device__ float at(const Params& p, std::int64_t b, int channel, int) const {
    return channel < p.dim ? to_float(*p.dt.at<T>(b, channel)) : 0.0f;
  }
};

/// dt is the product with the channel's row of dt_weight, of which the channel's lanes hold pieces.
template <class T, int lanes>
struct ProjectedDt {
  using Piece = cuda::Packed<T, dt_piece<T>>;
  Piece weight[dt_pieces];

  __device__ static int begin_of(int k, int lane) { return (k * lanes + lane) * dt_piece<T>; }
  __device__ static Piece load(const T* from) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    return {v.x, v.y, v.z, v.w};
  }

  __device__ ProjectedDt(const Params& p, int channel, int lane) {
    const T* const row = static_cast<const T*>(p.dt_weight) + channel * p.dt_weight_stride;
#pragma unroll
    for (int k = 0; k < dt_pieces; ++k) {
      const bool inside = channel < p.dim && begin_of(k, lane) < p.dt_rank;
      weight[k] = inside ? load(row + begin_of(k, lane)) : Piece{};
    }
  }
  __device__ float at(const Params& p, std::int64_t b, int, int lane) const {
    const T* const dt = p.dt.at<T>(b, 0);
    Piece input[dt_pieces];
#pragma unroll
    for (int k = 0; k < dt_pieces; ++k) {
      if (begin_of(k, lane) < p.dt_rank) input[k] = load(dt + begin_of(k, lane));
    }
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < dt_pieces; ++k) {
      if (begin_of(k, 0) >= p.dt_rank) break;
      if (begin_of(k, lane) >= p.dt_rank) continue;
      float weights[dt_piece<T>], inputs[dt_piece<T>];
      cuda::unpack(weight[k], weights);
      cuda::unpack(input[k], inputs);
#pragma unroll
      for (int i = 0; i < dt_piece<T>; ++i) sum = fmaf(weights[i], inputs[i], sum);
    }
    return sum_over_lanes<lanes>(sum);
  }
};

/// A thread holds four states of one channel; dstate = 4 lanes. Grid: (blocks of threads / lanes channels,
/// batch).
template <class T, class S, int lanes, template <class, int> class Dt>
__global__ void __launch_bounds__(threads) selective_state_update_kernel(const __grid_constant__ Params p) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  const int channel = static_cast<int>(blockIdx.x) * (threads / lanes) + thread / lanes;
  const std::int64_t b = blockIdx.y;
  const bool valid = channel < p.dim;
  S* const states =
      static_cast<S*>(p.state) + b * p.state_strides[0] + channel * p.state_strides[1] + lane * 4;
  const float* const rates = p.A + channel * p.A_stride + lane * 4;
  // What is read later is on its way to the second-level cache while the kernel before still runs.
  if (valid) {
    cuda::prefetch(states);
    cuda::prefetch(rates);
  }
  const Dt<T, lanes> deltas(p, channel, lane);
  cuda::wait_for_previous_kernel();

  // All that is read, before anything is computed from it.
  float x = 0.0f, z = 0.0f, state[4], A[4], B[4], C[4];
  std::uint32_t D = 0, dt_bias = 0;
  if (valid) {
    load4(state, states);
    load4(A, rates);
    load4(B, p.B.at<T>(b, channel) + lane * 4);
    load4(C, p.C.at<T>(b, channel) + lane * 4);
    x = to_float(*p.x.at<T>(b, channel));
    dt_bias = p.dt_bias.load(channel);
    D = p.D.load(channel);
    if (p.z.data) z = to_float(*p.z.at<T>(b, channel));
  }
  const float dt = deltas.at(p, b, channel, lane) + p.dt_bias.value(dt_bias);
  float sum = 0.0f;
  if (valid) {
    const float step = p.dt_softplus ? cuda::softplus_fast(dt) : dt;
    const float log2_step = cuda::log2_e * step, input = step * x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      state[i] = fmaf(cuda::exp2_fast(log2_step * A[i]), state[i], input * B[i]);
      sum = fmaf(C[i], state[i], sum);
    }
    store4(states, state);
  }
  sum = sum_over_lanes<lanes>(sum);
  if (!valid || lane != 0) return;
  sum = fmaf(p.D.value(D), x, sum);
  if (p.z.data) sum *= cuda::silu_fast(z);
  *p.out.at<T>(b, channel) = from_float<T>(sum);
}

template <class T, class S, int lanes>
void launch(const Params& p, std::int64_t batch, ExecContext& exec) {
  constexpr int block_channels = threads / lanes;
  const dim3 grid(static_cast<unsigned>((p.dim + block_channels - 1) / block_channels),
                  static_cast<unsigned>(batch));
  const auto kernel = p.dt_weight ? selective_state_update_kernel<T, S, lanes, ProjectedDt>
                                  : selective_state_update_kernel<T, S, lanes, GivenDt>;
  cuda::launch_overlapped("selective_state_update", exec, kernel, grid, threads, 0, p);
}

Params make_params(const SelectiveStateUpdateArgs& args) {
  const std::int64_t dim = args.x.extent(1);
  return {args.state.raw(),
          {args.state.stride(0), args.state.stride(1)},
          Activation(args.x),
          Activation(args.dt),
          Activation(args.z),
          Activation(args.out),
          Coefficient(args.B, dim),
          Coefficient(args.C, dim),
          args.A.data<float>(),
          args.A.stride(0),
          Parameter(args.D),
          Parameter(args.dt_bias),
          static_cast<int>(dim),
          args.dt_softplus,
          args.dt_weight.raw(),
          args.dt_weight ? args.dt_weight.stride(0) : 0,
          args.dt_weight ? static_cast<int>(args.dt_weight.extent(1)) : 0};
}

/// Whether rows start at multiples of 16 bytes.
bool has_wide_rows(const Tensor& tensor) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0 &&
         (tensor.extent(0) == 1 || tensor.stride(0) * size % 16 == 0);
}

}  // namespace

const char* why_not(Device device, const SelectiveStateUpdateArgs& args) {
  if (device.type != DeviceType::cuda) return "not on a CUDA device";
  const std::int64_t dstate = args.A.extent(1);
  if (dstate != 8 && dstate != 16 && dstate != 32 && dstate != 64 && dstate != 128)
    return "dstate is not 8, 16, 32, 64 or 128";
  if (args.dt_weight) {
    if (args.x.extent(0) > most_dt_rows) return "large batch: the projection of dt is bound by arithmetic";
    const std::int64_t row_bytes =
        args.dt_weight.extent(1) * static_cast<std::int64_t>(size_of(args.x.dtype()));
    if (row_bytes % 16 != 0 || !has_wide_rows(args.dt) || !has_wide_rows(args.dt_weight))
      return "rows of dt and dt_weight are not aligned to 16 bytes";
    if (row_bytes > dt_pieces * 16 * (dstate / 4)) return "dt_rank is too large";
  }
  if (args.B.rank() == 2 || args.C.rank() == 2) return "B or C is constant";
  if (args.A.dtype() != DType::float32) return "A is not float32";
  if (!in_fours(args.state) || !in_fours(args.A) || !in_fours(args.B) || !in_fours(args.C))
    return "state, A, B or C is not dense and aligned along dstate";
  if (args.x.extent(0) > 65535 || args.x.extent(1) > 1 << 30) return "batch or dim is too large";
  return nullptr;
}

void run(ExecContext& exec, const SelectiveStateUpdateArgs& args) {
  if (args.x.count() == 0) return;
  const std::int64_t batch = args.x.extent(0), dim = args.x.extent(1), dstate = args.A.extent(1);
  const Params p = make_params(args);
  const auto run_with = [&]<class T, class S>(std::type_identity<T>, std::type_identity<S>) {
    switch (dstate) {
      case 8:
        return launch<T, S, 2>(p, batch, exec);
      case 16:
        return launch<T, S, 4>(p, batch, exec);
      case 32:
        return launch<T, S, 8>(p, batch, exec);
      case 64:
        return launch<T, S, 16>(p, batch, exec);
      default:
        return launch<T, S, 32>(p, batch, exec);
    }
  };
  dispatch_with_state(args.x.dtype(), args.state.dtype(), run_with);
}

}  // namespace ophis::selective_state_update_cuda
