// What the CUDA kernels share: wide memory access, conversions and fast elementary functions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "ophis/core/half.hpp"

namespace ophis::cuda {

/// N elements that are read and written in one access of up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T lanes[N];
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bfloat16 x) {
  return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16);
}
__device__ inline float to_float(float16 x) { return __half2float(__ushort_as_half(x.bits)); }

/// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bfloat16 from_float<bfloat16>(float x) {
  bfloat16 result;
  result.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  return result;
}
template <>
__device__ inline float16 from_float<float16>(float x) {
  float16 result;
  result.bits = __half_as_ushort(__float2half_rn(x));
  return result;
}

/// 2^x to 2 ulp; results below 2^-126 are zero.
__device__ inline float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// 1 / x to 1 ulp; zero for infinity.
__device__ inline float reciprocal_fast(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

inline constexpr float log2_e = 1.44269504088896341f;

__device__ inline float sigmoid_fast(float x) { return __fdividef(1.0f, 1.0f + exp2_fast(-x * log2_e)); }
__device__ inline float silu_fast(float x) { return x * sigmoid_fast(x); }

/// log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|; log(1 + t) / t is a minimax fit (2e-7).
__device__ inline float softplus_fast(float x) {
  const float t = exp2_fast(-log2_e * fabsf(x));
  float p = -8.539206348e-3f;
  p = fmaf(p, t, 4.408962280e-2f);
  p = fmaf(p, t, -0.1076816991f);
  p = fmaf(p, t, 0.1774524003f);
  p = fmaf(p, t, -0.2449546307f);
  p = fmaf(p, t, 0.3327547908f);
  p = fmaf(p, t, -0.4999740422f);
  p = fmaf(p, t, 0.9999998212f);
  return fmaf(p, t, fmaxf(x, 0.0f));
}

/// The sum of a value over the lanes of a warp, in every lane.
__device__ inline float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

}  // namespace ophis::cuda
