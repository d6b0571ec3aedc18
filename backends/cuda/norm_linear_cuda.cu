// The product of gemv.cuh, with a norm in front as StagedInput has it. An output that is convolved stays in
// the lane that has its sum.
#include "backends/cuda/norm_linear_cuda.hpp"

#include <limits>

#include "backends/cuda/fours.cuh"
#include "backends/cuda/gemv_codes.cuh"
#include "backends/cuda/gemv_dense.cuh"
#include "ops/common/dense.hpp"

namespace ophis::norm_linear_cuda {
namespace {

namespace gemv = cuda::gemv;
using gemv::Product;

constexpr int norm_rows = 4;           // at most, with the norm in the product's kernel
constexpr int norm_bytes = 40 * 1024;  // of shared memory for them, at most
constexpr int max_width = 4;           // of the convolution

/// Outputs [begin, end) pass through a step of the convolution.
template <class T>
struct ConvOutput {
  T* state;
  const float *weight, *bias;  // bias or nullptr
  int state_strides[3];        // row, channel, tap
  int weight_strides[2];       // channel, tap
  int begin, end, width;
  bool silu;

  /// Reads the weight before the kernel before has ended, and the state while the products are computed.
  struct Writer {
    bool convolves;
    T* taps;
    T inputs[max_width - 1];
    float weights[max_width], bias;

    __device__ void aim(const Product<T>&, const ConvOutput& conv, int row, int out) {
      convolves = out >= conv.begin && out < conv.end;
      if (!convolves) return;
      const int channel = out - conv.begin;
      taps = conv.state + (row * conv.state_strides[0] + channel * conv.state_strides[1]);
#pragma unroll
      for (int k = 0; k < max_width; ++k) {
        if (k + 1 < conv.width) cuda::prefetch(taps + k * conv.state_strides[2]);
        if (k < conv.width)
          weights[k] = conv.weight[channel * conv.weight_strides[0] + k * conv.weight_strides[1]];
      }
      if (conv.bias) cuda::prefetch(conv.bias + channel);
    }
    __device__ void read(const Product<T>&, const ConvOutput& conv, int, int out) {
      if (!convolves) return;
      bias = conv.bias ? conv.bias[out - conv.begin] : 0.0f;
#pragma unroll
      for (int k = 0; k + 1 < max_width; ++k) {
        if (k + 1 < conv.width) inputs[k] = taps[k * conv.state_strides[2]];
      }
    }

    __device__ void store(const Product<T>& p, const ConvOutput& conv, int row, int out, float value) const {
      if (convolves) {
        const T newest = cuda::from_float<T>(value);
        value = bias;
#pragma unroll
        for (int k = 0; k < max_width; ++k) {
          if (k >= conv.width) continue;
          const T tap = k + 1 < conv.width ? inputs[::min(k, max_width - 2)] : newest;
          value = fmaf(weights[k], cuda::to_float(tap), value);
          if (k > 0) taps[(k - 1) * conv.state_strides[2]] = tap;
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
  const auto stride = [](const Tensor& tensor, int axis) { return static_cast<int>(tensor.stride(axis)); };
  const int begin = static_cast<int>(args.conv_begin);
  return {state.data<T>(),
          weight.data<float>(),
          static_cast<const float*>(bias.raw()),
          {stride(state, 0), stride(state, 1), stride(state, 2)},
          {stride(weight, 0), stride(weight, 1)},
          begin,
          begin + static_cast<int>(weight.extent(0)),
          static_cast<int>(weight.extent(1)),
          args.conv_activation == Activation::silu};
}

/// Whether offsets of a tensor's elements are 31 bits.
bool is_small(const Tensor& tensor) {
  std::int64_t last = 0;
  for (int i = 0; i < tensor.rank(); ++i) last += tensor.extent(i) * tensor.stride(i);
  return last <= std::numeric_limits<int>::max();
}

/// Whether the norm is part of the product's kernel. The weight comes in fours.
bool takes_norm_along(const NormLinearArgs& args, std::int64_t rows) {
  return rows <= norm_rows && args.norm_weight && args.norm_weight.dtype() == DType::float32 &&
         cuda::in_fours(args.norm_weight);
}

/// Calls f with the output.
template <class T, class F>
void with_output(ExecContext& exec, const NormLinearArgs& args, const F& f) {
  if (!args.conv_state || args.conv_weight.extent(0) == 0) return f(gemv::PlainOutput<T>{});
  f(make_conv<T>(args, as_dense_float32(exec, args.conv_bias)));
}

/// The product of rows that become Columns, with the norm, if it takes that along. Rows of float16 might
/// overflow without the root.
template <class T, class Weight, class Columns>
bool run_with_norm(ExecContext& exec, const NormLinearArgs& args, const Product<T>& product,
                   const Weight& weight, const Columns& columns) {
  if constexpr (std::is_same_v<Columns, gemv::DenseColumns<float16>>) {
    return false;
  } else {
    using Input = gemv::StagedInput<T, Columns>;
    using Input = gemv::StagedInput<T, Columns>;
    if (!takes_norm_along(args, product.rows) || product.in_features > norm_bytes) return false;
    const int bytes = Input::shared_bytes(product.rows, product.in_features);
    if (bytes > norm_bytes) return false;
    const Input input{columns, args.x.raw(), args.norm_weight.data<float>(), static_cast<float>(args.eps),
                      args.x.dtype() == DType::float32};
    with_output<T>(exec, args, [&](const auto& output) {
      gemv::launch<norm_rows>("norm_linear", exec, product, weight, input, output, bytes);
    });
    return true;
  }
}

/// The product of rows that run_with_norm() leaves: the norm first.
template <class T, class Run>
void run_after_norm(ExecContext& exec, const NormLinearArgs& args, const Run& run) {
  const Tensor normed = exec.workspace().take_tensor(dtype_of<T>, args.x.shape());
  rms_norm(exec, norm_of(args, normed));
  with_output<T>(exec, args, [&](const auto& output) { run(normed, output); });
}

template <class T>
void run_dense(ExecContext& exec, const NormLinearArgs& args) {
  const LinearArgs linear = linear_of(args, args.x);
  bool done = false;
  gemv::with_dense_weight<T>(exec.device(), linear, [&](const auto& weight) {
    done = run_with_norm<T>(exec, args, gemv::make_product<T>(linear), weight, gemv::DenseColumns<T>{});
  });
  if (done) return;
  run_after_norm<T>(exec, args, [&](const Tensor& normed, const auto& output) {
    gemv::run_dense<T>("norm_linear", exec, linear_of(args, normed), output);
  });
}

template <class T>
void run_quantized(ExecContext& exec, const NormLinearArgs& args) {
  const QuantizedLinearArgs linear = quantized_linear_of(args, args.x);
  bool done = false;
  gemv::with_code_weight<T>(linear, [&]<class Weight>(const Weight& weight) {
    done = run_with_norm<T>(exec, args, gemv::make_product<T>(linear), weight,
                            typename Weight::Columns{weight.shift.data != nullptr});
  });
  if (done) return;
  run_after_norm<T>(exec, args, [&](const Tensor& normed, const auto& output) {
    gemv::run_quantized<T>("norm_linear", exec, quantized_linear_of(args, normed), output);
  });
}

}  // namespace

const char* why_not(Device device, const NormLinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const char* const reason = args.weight_scale ? gemv::why_not(device, quantized_linear_of(args, args.x))
                                               : gemv::why_not(device, linear_of(args, args.x));
  if (reason) return reason;
  if (!args.conv_state || args.conv_weight.extent(0) == 0) return nullptr;
  const std::int64_t width = args.conv_weight.extent(1);
  if (width < 2 || width > max_width) return "the convolution takes widths 2, 3 and 4";
  if (args.conv_weight.dtype() != DType::float32) return "conv_weight is not float32";
  if (args.conv_state.extent(2) != width - 1) return "conv_state holds other than width - 1 inputs";
  if (!is_small(args.conv_state) || !is_small(args.conv_weight)) return "an extent is beyond 31 bits";
  if (args.conv_activation != Activation::identity && args.conv_activation != Activation::silu)
    return "the convolution takes identity and silu";
  return nullptr;
}

void run(ExecContext& exec, const NormLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(compute_dtype_of(args), [&]<class T>(std::type_identity<T>) {
    if (args.weight_scale)
      run_quantized<T>(exec, args);
    else
      run_dense<T>(exec, args);
  });
}

}  // namespace ophis::norm_linear_cuda
