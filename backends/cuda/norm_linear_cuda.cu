// The product of gemv.cuh, with a norm in front whose root is left to the end: every block multiplies the
// rows with the norm's weight into shared memory while its part of the matrix is on its way, adds up their
// squares, and divides its sums. An output that is convolved stays in the lane that has its sum.
#include "backends/cuda/norm_linear_cuda.hpp"

#include "backends/cuda/fours.cuh"
#include "backends/cuda/gemv.cuh"
#include "backends/cuda/quantized_gemv.cuh"
#include "ops/common/dense.hpp"

namespace ophis::norm_linear_cuda {
namespace {

using cuda::gemv::block_warps;
using cuda::gemv::Piece;
using cuda::gemv::Product;

constexpr int block_threads = 32 * block_warps;
constexpr int norm_rows = 4;           // at most, with the norm in the product's kernel
constexpr int norm_bytes = 40 * 1024;  // of shared memory for them, at most
constexpr int max_width = 4;           // of the convolution

/// Rows x norm_weight in shared memory, and behind them the sums of squares of each warp.
template <class T>
struct NormInput {
  const void* x;  // of T, or float32
  const float* weight;
  float eps;
  bool x_float32;

  static int shared_bytes(std::int64_t rows, std::int64_t in_features) {
    return static_cast<int>(rows * (in_features * static_cast<std::int64_t>(sizeof(T)) + block_warps * 4));
  }

  template <int rows>
  struct Reader {
    static constexpr int fours = 5;  // in flight, for a thread
    static constexpr int stride = 4 * block_threads;

    const Product<T>& p;
    const NormInput& input;
    float weights[fours][4];  // of the first elements

    __device__ static T* products() {
      extern __shared__ uint4 memory[];
      return reinterpret_cast<T*>(memory);
    }
    __device__ float* squares() const {
      return reinterpret_cast<float*>(products() + static_cast<std::int64_t>(p.rows) * p.in_features);
    }

    __device__ Reader(const Product<T>& p, const NormInput& input) : p(p), input(input) {
      load_weights(static_cast<int>(threadIdx.x) * 4);
    }
    __device__ void load_weights(int first) {
#pragma unroll
      for (int k = 0; k < fours; ++k) {
        const int at = first + k * stride;
        if (at < p.in_features) cuda::load4(weights[k], input.weight + at);
      }
    }

    __device__ void load() {
      float sums[rows] = {};
      const int first = static_cast<int>(threadIdx.x) * 4;
      for (int begin = first; begin < p.in_features; begin += fours * stride) {
        if (begin != first) load_weights(begin);
#pragma unroll
        for (int r = 0; r < rows; ++r) {
          if (r < p.rows) sums[r] += load(r, begin);
        }
      }
      const int warp = threadIdx.x / 32;
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const float sum = cuda::warp_sum(sums[r]);
        if (r < p.rows && threadIdx.x % 32 == 0) squares()[r * block_warps + warp] = sum;
      }
      __syncthreads();
    }

    /// Elements from `first` on of a row; returns the sum of their squares.
    __device__ float load(int row, int first) {
      float values[fours][4];
#pragma unroll
      for (int k = 0; k < fours; ++k) {
        const int at = first + k * stride;
        if (at >= p.in_features) continue;
        if (input.x_float32)
          cuda::load4(values[k], static_cast<const float*>(input.x) + row * p.ldx + at);
        else
          cuda::load4(values[k], static_cast<const T*>(input.x) + row * p.ldx + at);
      }
      float sum = 0.0f;
#pragma unroll
      for (int k = 0; k < fours; ++k) {
        const int at = first + k * stride;
        if (at >= p.in_features) continue;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sum = fmaf(values[k][i], values[k][i], sum);
          values[k][i] *= weights[k][i];
        }
        cuda::store4(products() + row * p.in_features + at, values[k]);
      }
      return sum;
    }

    __device__ Piece<T> piece(int row, int at) const {
      return cuda::gemv::load_shared(products() + row * p.in_features + at);
    }
    __device__ float factor(int row) const {
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < block_warps; ++w) sum += squares()[row * block_warps + w];
      return 1.0f / sqrtf(sum / static_cast<float>(p.in_features) + input.eps);
    }
  };
};

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

    __device__ Writer(const Product<T>&, const ConvOutput& conv, int row, int out, bool stores)
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
          const T tap = k + 1 < conv.width ? inputs[::min(k, max_width - 2)] : newest;
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

/// float16 might overflow without the root. The weight comes in fours.
bool takes_norm_along(const NormLinearArgs& args) {
  const LinearShape shape = linear_shape(linear_of(args, args.x));
  const DType dtype = args.weight.dtype();
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  return dtype != DType::float16 && shape.rows <= norm_rows &&
         shape.rows * shape.in_features * size <= norm_bytes && args.norm_weight &&
         args.norm_weight.dtype() == DType::float32 && cuda::in_fours(args.norm_weight);
}

template <class T, int most_rows, class Input>
void run(ExecContext& exec, const NormLinearArgs& args, const Tensor& x, const Input& input,
         int shared_bytes) {
  const LinearArgs linear = linear_of(args, x);
  const Product<T> product = cuda::gemv::make_product<T>(linear, linear_shape(linear));
  if (!args.conv_state || args.conv_weight.extent(0) == 0)
    return cuda::gemv::launch<T, most_rows>("norm_linear", exec, product, input, cuda::gemv::PlainOutput<T>{},
                                            shared_bytes);
  const Tensor bias = as_dense_float32(exec, args.conv_bias);
  cuda::gemv::launch<T, most_rows>("norm_linear", exec, product, input, make_conv<T>(args, bias),
                                   shared_bytes);
}

/// The norm, and a product with codes.
template <class T>
void run_quantized(ExecContext& exec, const NormLinearArgs& args) {
  const Tensor normed = exec.workspace().take_tensor(dtype_of<T>, args.x.shape());
  rms_norm(exec, norm_of(args, normed));
  const QuantizedLinearArgs product = quantized_linear_of(args, normed);
  if (!args.conv_state || args.conv_weight.extent(0) == 0)
    return cuda::gemv::run_quantized<T>("norm_linear", exec, product, cuda::gemv::PlainOutput<T>{});
  const Tensor bias = as_dense_float32(exec, args.conv_bias);
  cuda::gemv::run_quantized<T>("norm_linear", exec, product, make_conv<T>(args, bias));
}

}  // namespace

const char* why_not(Device device, const NormLinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const char* const reason = args.weight_scale
                                 ? cuda::gemv::why_not(device, quantized_linear_of(args, args.x))
                                 : cuda::gemv::why_not(device, linear_of(args, args.x));
  if (reason) return reason;
  if (!args.conv_state || args.conv_weight.extent(0) == 0) return nullptr;
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
  dispatch_compute_dtype(compute_dtype_of(args), [&]<class T>(std::type_identity<T>) {
    if (args.weight_scale) return run_quantized<T>(exec, args);
    if constexpr (!std::is_same_v<T, float16>) {
      if (takes_norm_along(args)) {
        const NormInput<T> input{args.x.raw(), args.norm_weight.data<float>(), static_cast<float>(args.eps),
                                 args.x.dtype() == DType::float32};
        const LinearShape shape = linear_shape(linear_of(args, args.x));
        return run<T, norm_rows>(exec, args, args.x, input,
                                 NormInput<T>::shared_bytes(shape.rows, shape.in_features));
      }
    }
    const Tensor normed = exec.workspace().take_tensor(args.weight.dtype(), args.x.shape());
    rms_norm(exec, norm_of(args, normed));
    run<T, cuda::gemv::max_rows>(exec, args, normed, cuda::gemv::PlainInput<T>{}, 0);
  });
}

}  // namespace ophis::norm_linear_cuda
