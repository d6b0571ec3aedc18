// Wide access to memory that is touched once, and conversion of what is moved.
#pragma once

#include <type_traits>

#include "backends/cuda/device_functions.cuh"
#include "backends/gpu/packed.hpp"

namespace ophis::cuda {

using gpu::Packed;
using gpu::vector_bytes;
using gpu::vector_width;

/// Elements that nobody writes during the kernel and that it will not read again; zeros, and no access,
/// unless `wanted`. Without a branch, so that many can be in flight.
template <int N, class T>
__device__ inline Packed<T, N> load_streaming(const T* from, bool wanted = true) {
  Packed<T, N> to{};
  if constexpr (Packed<T, N>::count == 4) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %5, 0; @p ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, "
        "[%4]; }"
        : "+r"(to.words[0]), "+r"(to.words[1]), "+r"(to.words[2]), "+r"(to.words[3])
        : "l"(from), "r"(static_cast<int>(wanted)));
  } else {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %3, 0; @p ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2]; }"
        : "+r"(to.words[0]), "+r"(to.words[1])
        : "l"(from), "r"(static_cast<int>(wanted)));
  }
  return to;
}

/// Elements that this kernel will not touch again.
template <class T, int N>
__device__ inline void store_streaming(T* to, const Packed<T, N>& from) {
  if constexpr (Packed<T, N>::count == 4) {
    __stcs(reinterpret_cast<uint4*>(to),
           make_uint4(from.words[0], from.words[1], from.words[2], from.words[3]));
  } else {
    __stcs(reinterpret_cast<uint2*>(to), make_uint2(from.words[0], from.words[1]));
  }
}

template <class T, int N>
__device__ inline void unpack(const Packed<T, N>& from, float (&to)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      to[i] = __uint_as_float(from.words[i]);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
      const std::uint32_t word = from.words[i / 2];
      to[i] = __uint_as_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
    } else {
      const std::uint32_t word = from.words[i / 2];
      to[i] = __half2float(__ushort_as_half(static_cast<std::uint16_t>(i % 2 == 0 ? word : word >> 16)));
    }
  }
}

/// Rounds to nearest even.
template <class T, int N>
__device__ inline Packed<T, N> pack(const float (&from)[N]) {
  Packed<T, N> to;
#pragma unroll
  for (int i = 0; i < Packed<T, N>::count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      to.words[i] = __float_as_uint(from[i]);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
      to.words[i] = reinterpret_cast<const std::uint32_t&>(pair);
    } else {
      const __half2 pair = __floats2half2_rn(from[2 * i], from[2 * i + 1]);
      to.words[i] = reinterpret_cast<const std::uint32_t&>(pair);
    }
  }
  return to;
}

}  // namespace ophis::cuda
