// The norm by its own kernel, which costs less than every block of the product computing it for itself; then
// the product (gemv.cuh), in which an output that is convolved stays in the lane that has its sum.
#include "backends/cuda/norm_linear_cuda.hpp"

#include "backends/cuda/gemv.cuh"
#include "ops/common/dense.hpp"

namespace ophis::norm_linear_cuda {
namespace {

using cuda::gemv::Product;

constexpr int max_width = 4;

/// Outputs [begin, end) pass through a step of the convolution.
template <class T>
struct ConvOutput {
  T* state;
  const float *weight, *bias;      // bias or nullptr
  std::int64_t state_strides[3];   // row, channel, tap
  std::int64_t weight_strides[2];  // channel, tap
  int begin, end, width;
  bool silu;

  __device__ T* state_at(int row, int channel, int k) const {
    return state + row * state_strides[0] + channel * state_strides[1] + k * state_strides[2];
  }

  /// Reads the state while the products are computed.
  struct Writer {
    bool convolves;
    T inputs[max_width - 1];
    float weights[max_width], bias;

    __device__ Writer(const ConvOutput& conv, int row, int out, bool stores)
        : convolves(stores && out >= conv.begin && out < conv.end), bias(0.0f) {
      if (!convolves) return;
      const int channel = out - conv.begin;
#pragma unroll
      for (int k = 0; k < max_width; ++k) {
        if (k + 1 < conv.width) inputs[k] = *conv.state_at(row, channel, k);
        if (k < conv.width)
          weights[k] = conv.weight[channel * conv.weight_strides[0] + k * conv.weight_strides[1]];
      }
      if (conv.bias) bias = conv.bias[channel];
    }

    __device__ void store(const Product<T>& p, const ConvOutput& conv, int row, int out, float value) const {
      if (convolves) {
        const T newest = cuda::from_float<T>(value);
        value = bias;
#pragma unroll
        for (int k = 0; k < max_width; ++k) {
          if (k >= conv.width) continue;
          const T tap = k + 1 < conv.width ? inputs[min(k, max_width - 2)] : newest;
          value = fmaf(weights[k], cuda::to_float(tap), value);
          if (k > 0) *conv.state_at(row, out - conv.begin, k - 1) = tap;
        }
        if (conv.silu) value = cuda::silu_fast(value);
      }
      p.store(row, out, value);
    }
  };
};

template <class T>
ConvOutput<T> make_conv(const NormLinearArgs& args, const Tensor& bias) {
  const Tensor &state = args.conv_state, &weight = args.conv_weight;
  const int begin = static_cast<int>(args.conv_begin);
  return {state.data<T>(),
          weight.data<float>(),
          static_cast<const float*>(bias.raw()),
          {state.stride(0), state.stride(1), state.stride(2)},
          {weight.stride(0), weight.stride(1)},
          begin,
          begin + static_cast<int>(weight.extent(0)),
          static_cast<int>(weight.extent(1)),
          args.conv_activation == Activation::silu};
}

}  // namespace

const char* why_not(Device device, const NormLinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (!args.conv_state || args.conv_weight.extent(0) == 0) return "there is no convolution to take along";
  if (const char* const reason = cuda::gemv::why_not(device, linear_of(args, args.x))) return reason;
  const std::int64_t width = args.conv_weight.extent(1);
  if (width < 2 || width > max_width) return "the convolution takes widths 2, 3 and 4";
  if (args.conv_weight.dtype() != DType::float32) return "conv_weight is not float32";
  if (args.conv_state.extent(2) != width - 1) return "conv_state holds other than width - 1 inputs";
  if (args.conv_activation != Activation::identity && args.conv_activation != Activation::silu)
    return "the convolution takes identity and silu";
  return nullptr;
}

void run(ExecContext& exec, const NormLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor normed = exec.workspace().take_tensor(args.x.dtype(), args.x.shape());
  rms_norm(exec, norm_of(args, normed));
  const Tensor conv_bias = as_dense_float32(exec, args.conv_bias);
  const LinearArgs linear = linear_of(args, normed);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    cuda::gemv::launch("norm_linear", exec, cuda::gemv::make_product<T>(linear, linear_shape(linear)),
                       make_conv<T>(args, conv_bias));
  });
}

}  // namespace ophis::norm_linear_cuda
