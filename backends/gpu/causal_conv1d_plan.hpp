// Which arguments the kernels of causal_conv1d on GPUs take, and how.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "backends/gpu/packed.hpp"
#include "ophis/ops/causal_conv1d.hpp"

namespace ophis::causal_conv1d_gpu {

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

inline constexpr std::int64_t largest_extent = std::int64_t{1} << 30;

inline const char* why_not_parameters(const Tensor& weight, Activation activation) {
  if (weight.extent(1) < 2 || weight.extent(1) > 4) return "it takes widths 2, 3 and 4";
  if (activation != Activation::identity && activation != Activation::silu)
    return "it takes identity and silu";
  return nullptr;
}

/// Whether every run of elements along `axis` starts at a multiple of `bytes`.
inline bool is_aligned(const Tensor& tensor, int axis, int bytes) {
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  if (reinterpret_cast<std::uintptr_t>(tensor.raw()) % static_cast<std::uintptr_t>(bytes) != 0) return false;
  for (int i = 0; i < tensor.rank(); ++i) {
    if (i != axis && tensor.extent(i) > 1 && tensor.stride(i) * size % bytes != 0) return false;
  }
  return true;
}

inline bool is_channels_last(const CausalConv1dArgs& args) {
  const auto bytes = static_cast<std::int64_t>(size_of(args.x.dtype())) * args.x.extent(2);
  return args.x.stride(2) == 1 && args.out.stride(2) == 1 && bytes % gpu::vector_bytes == 0 &&
         is_aligned(args.x, 2, gpu::vector_bytes) && is_aligned(args.out, 2, gpu::vector_bytes);
}

/// Time is dense, and vectors of x and out start at the same positions.
inline bool is_channels_first(const CausalConv1dArgs& args) {
  if (args.x.stride(1) != 1 || args.out.stride(1) != 1) return false;
  const auto size = static_cast<std::int64_t>(size_of(args.x.dtype()));
  const auto distance =
      reinterpret_cast<std::intptr_t>(args.x.raw()) - reinterpret_cast<std::intptr_t>(args.out.raw());
  if (distance % gpu::vector_bytes != 0) return false;
  for (const int axis : {0, 2}) {
    const std::int64_t difference = args.x.stride(axis) - args.out.stride(axis);
    if (args.x.extent(axis) > 1 && difference * size % gpu::vector_bytes != 0) return false;
  }
  return true;
}

/// Where time is dense: elements of a vector that may lie before a row's start.
template <class T>
std::int64_t largest_shift(const CausalConv1dArgs& args) {
  return is_aligned(args.x, 1, gpu::vector_bytes) ? 0 : gpu::vector_width<T> - 1;
}

inline const char* why_not_arguments(const CausalConv1dArgs& args) {
  if (const char* reason = why_not_parameters(args.weight, args.activation)) return reason;
  if (args.seq_idx) return "it does not take seq_idx";
  if (std::max({args.x.extent(0), args.x.extent(1), args.x.extent(2)}) > largest_extent)
    return "it takes extents up to 2^30";
  if (args.x.extent(0) > 65535) return "it takes batches up to 65535";
  if (!is_channels_last(args) && !is_channels_first(args))
    return "channels or time must be dense in x and out, in rows aligned to 16 bytes";
  return nullptr;
}

}  // namespace ophis::causal_conv1d_gpu
