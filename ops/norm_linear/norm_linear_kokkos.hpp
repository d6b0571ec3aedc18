// norm_linear of few rows on CPUs: the norm's result stays float32, and the convolution belongs to the
// product's kernel. Steps of generation are so short that waking threads for each part of one shows.
#pragma once

#include "ops/causal_conv1d/causal_conv1d_kokkos.hpp"
#include "ops/linear/linear_kokkos.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/rms_norm/rms_norm_kokkos.hpp"

namespace ophis::norm_linear_kokkos {

/// One item: a part of the outputs, of which those that the convolution takes are whole packs of channels, so
/// that it finds them done.
template <class T, int W>
struct ProductAndConv {
  linear_kokkos::Kernel<T, T, W> product;
  causal_conv1d_kokkos::Update<T, W> conv;
  std::int64_t conv_begin, parts;

  KOKKOS_FUNCTION void operator()(std::int64_t part) const {
    const std::int64_t rows = product.shape.rows, blocks = conv.channel_blocks;
    const std::int64_t begin = blocks * part / parts, end = blocks * (part + 1) / parts;
    const std::int64_t conv_end = conv_begin + conv.dim;
    product.outputs(0, rows, conv_begin + begin * W, Kokkos::min(conv_begin + end * W, conv_end));
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t block = begin; block < end; ++block) conv(row * blocks + block);
    }
    product.outputs(0, rows, conv_begin * part / parts, conv_begin * (part + 1) / parts);
    const std::int64_t behind = product.shape.out_features - conv_end;
    product.outputs(0, rows, conv_end + behind * part / parts, conv_end + behind * (part + 1) / parts);
  }
};

inline const char* why_not(Device device, const NormLinearArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  if (args.weight_scale) return "the weight is quantized";
  if (!as_matrix(args.x) || !as_matrix(args.out)) return "rows are not evenly spaced";
  if (as_matrix(args.x).extent(0) > linear_few_rows) return "many rows: bound by arithmetic";
  return nullptr;
}

inline void run(ExecContext& exec, const NormLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  constexpr int W = pack_width<HostExecSpace>;
  const HostExecSpace space;
  const Tensor normed = exec.workspace().take_tensor(DType::float32, args.x.shape());
  const LinearShape shape = linear_shape(linear_of(args, normed));
  const Tensor bias = as_dense_float32(exec, args.bias);
  const auto launch = [&]<class T, class Out>(std::type_identity<T>, std::type_identity<Out>) {
    const auto norm =
        rms_norm_kokkos::make_kernel<T, W, rms_norm_kokkos::Center::none, float>(exec, norm_of(args, normed));
    for_each_element(space, "ophis::norm_linear::norm", shape.rows, norm);
    const linear_kokkos::Kernel<T, Out, W> product{normed.data<float>(),
                                                   args.weight.data<T>(),
                                                   bias ? bias.data<float>() : nullptr,
                                                   args.out.data<Out>(),
                                                   shape,
                                                   args.accumulate};
    if constexpr (std::is_same_v<T, Out>) {
      if (args.conv_state) {
        const std::int64_t parts = space.concurrency();
        const auto conv = causal_conv1d_kokkos::make_update<T, W>(exec, conv_of(args));
        const ProductAndConv<T, W> both{product, conv, args.conv_begin, parts};
        return for_each_element(space, "ophis::norm_linear", parts, both);
      }
    }
    for_each_element(space, "ophis::norm_linear", product.items(), product);
  };
  dispatch_product_dtypes(args.weight.dtype(), args.out.dtype(), launch);
}

}  // namespace ophis::norm_linear_kokkos
