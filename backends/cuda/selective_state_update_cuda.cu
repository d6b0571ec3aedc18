// selective_state_update: memory bound, as the state is read and written once. A thread holds four states of
// one channel, in one access; several channels a thread are slower here.
#include "backends/cuda/selective_state_update_cuda.hpp"

#include "backends/cuda/fours.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/parameter.cuh"
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
};

/// A thread holds four states of one channel; dstate = 4 lanes. Grid: (blocks of threads / lanes channels,
/// batch).
template <class T, class S, int lanes>
__global__ void __launch_bounds__(threads) selective_state_update_kernel(const __grid_constant__ Params p) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  const int channel = static_cast<int>(blockIdx.x) * (threads / lanes) + thread / lanes;
  const std::int64_t b = blockIdx.y;
  const bool valid = channel < p.dim;
  float sum = 0.0f, x = 0.0f;
  cuda::wait_for_previous_kernel();
  if (valid) {
    S* const states =
        static_cast<S*>(p.state) + b * p.state_strides[0] + channel * p.state_strides[1] + lane * 4;
    float state[4], A[4], B[4], C[4];
    load4(state, states);
    load4(A, p.A + channel * p.A_stride + lane * 4);
    load4(B, p.B.at<T>(b, channel) + lane * 4);
    load4(C, p.C.at<T>(b, channel) + lane * 4);
    x = to_float(*p.x.at<T>(b, channel));
    const float dt = to_float(*p.dt.at<T>(b, channel)) + p.dt_bias.at(channel);
    const float step = p.dt_softplus ? cuda::softplus_fast(dt) : dt;
    const float log2_step = cuda::log2_e * step, input = step * x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      state[i] = fmaf(cuda::exp2_fast(log2_step * A[i]), state[i], input * B[i]);
      sum = fmaf(C[i], state[i], sum);
    }
    store4(states, state);
  }
#pragma unroll
  for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (!valid || lane != 0) return;
  sum = fmaf(p.D.at(channel), x, sum);
  if (p.z.data) sum *= cuda::silu_fast(to_float(*p.z.at<T>(b, channel)));
  *p.out.at<T>(b, channel) = from_float<T>(sum);
}

template <class T, class S, int lanes>
void launch(const Params& p, std::int64_t batch, ExecContext& exec) {
  constexpr int block_channels = threads / lanes;
  const dim3 grid(static_cast<unsigned>((p.dim + block_channels - 1) / block_channels),
                  static_cast<unsigned>(batch));
  cuda::launch_overlapped("selective_state_update", exec, selective_state_update_kernel<T, S, lanes>, grid,
                          threads, 0, p);
}

Params make_params(const SelectiveStateUpdateArgs& args) {
  const std::int64_t dim = args.x.extent(1);
  return {args.state.raw(),         {args.state.stride(0), args.state.stride(1)},
          Activation(args.x),       Activation(args.dt),
          Activation(args.z),       Activation(args.out),
          Coefficient(args.B, dim), Coefficient(args.C, dim),
          args.A.data<float>(),     args.A.stride(0),
          Parameter(args.D),        Parameter(args.dt_bias),
          static_cast<int>(dim),    args.dt_softplus};
}

}  // namespace

const char* why_not(Device device, const SelectiveStateUpdateArgs& args) {
  if (device.type != DeviceType::cuda) return "not on a CUDA device";
  const std::int64_t dstate = args.A.extent(1);
  if (dstate != 8 && dstate != 16 && dstate != 32 && dstate != 64 && dstate != 128)
    return "dstate is not 8, 16, 32, 64 or 128";
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
