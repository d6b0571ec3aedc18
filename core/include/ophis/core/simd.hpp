// A pack of floats: the lanes that one thread of a kernel works on.
//
// On a CPU Pack<W> is a vector register, made of the compilers' vector extensions (GCC, Clang, and nvcc's and
// hipcc's host side); on a GPU kernels use Pack<1>, a plain float. One kernel body serves both. Memory is
// read and written in the storage types float, bfloat16 and float16; arithmetic is float32.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ophis/core/half.hpp"
#include "ophis/core/macros.hpp"

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define OPHIS_DEVICE_CODE
#endif
#if defined(__F16C__) && !defined(OPHIS_DEVICE_CODE)
#define OPHIS_HAS_F16C
#if defined(__AVX512F__)
#define OPHIS_HAS_AVX512
#endif
#if defined(__AVX512BF16__) && !defined(__CUDACC__) && !defined(__HIPCC__)
#define OPHIS_HAS_AVX512_BF16
#endif
#include <immintrin.h>
#endif

namespace ophis {

/// Floats in a vector register of the CPU that is compiled for.
#if defined(__AVX512F__)
inline constexpr int native_pack_width = 16;
#elif defined(__AVX__)
inline constexpr int native_pack_width = 8;
#else
inline constexpr int native_pack_width = 4;
#endif

namespace detail {

#if defined(__CUDA_ARCH__)
// nvcc compiles kernel bodies for the CPU's packs here too, for nobody to call, and has no vectors to offer.
template <class Lane, int W>
struct VectorOf {
  using type = Lane;
};
#else
template <class Lane, int W>
struct VectorOf {
  typedef Lane type __attribute__((vector_size(sizeof(Lane) * W)));
};
template <class Lane>
struct VectorOf<Lane, 1> {
  using type = Lane;
};
#endif
template <class Lane, int W>
using Vector = typename VectorOf<Lane, W>::type;

/// std::memcpy, which clang has for the host only.
OPHIS_INLINE_FUNCTION void copy_bytes(void* to, const void* from, std::size_t bytes) {
#if defined(__clang__)
  __builtin_memcpy(to, from, bytes);
#else
  std::memcpy(to, from, bytes);
#endif
}

template <int W>
inline constexpr bool is_scalar = std::is_same_v<Vector<float, W>, float>;

}  // namespace detail

template <int W>
struct Pack {
  using Floats = detail::Vector<float, W>;
  using Words = detail::Vector<std::uint32_t, W>;
  static constexpr int width = W;

  Floats v;

  Pack() = default;
  OPHIS_INLINE_FUNCTION Pack(float value) : v(value - Floats{}) {}
  OPHIS_INLINE_FUNCTION explicit Pack(Floats lanes) requires(!detail::is_scalar<W>) : v(lanes) {}

  OPHIS_INLINE_FUNCTION Pack& operator+=(Pack o) { return *this = *this + o; }
  OPHIS_INLINE_FUNCTION Pack& operator*=(Pack o) { return *this = *this * o; }
  friend OPHIS_INLINE_FUNCTION Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  friend OPHIS_INLINE_FUNCTION Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
  friend OPHIS_INLINE_FUNCTION Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
  friend OPHIS_INLINE_FUNCTION Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
  friend OPHIS_INLINE_FUNCTION Pack operator-(Pack a) { return Pack(-a.v); }

  /// One lane; for tails and tests.
  OPHIS_INLINE_FUNCTION float lane([[maybe_unused]] int i) const {
    if constexpr (detail::is_scalar<W>)
      return v;
    else
      return v[i];
  }
};

/// a * b + c, fused where the target has the instruction.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> fma(Pack<W> a, Pack<W> b, Pack<W> c) {
  return Pack<W>(a.v * b.v + c.v);
}

/// Lane-wise a where a < b, else b. NaN in a gives b.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> min(Pack<W> a, Pack<W> b) {
  return Pack<W>(a.v < b.v ? a.v : b.v);
}
/// Lane-wise a where a > b, else b. NaN in a gives b.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> max(Pack<W> a, Pack<W> b) {
  return Pack<W>(a.v > b.v ? a.v : b.v);
}

/// f of all lanes, halves against halves, so always in the same order.
template <int W, class F>
OPHIS_INLINE_FUNCTION float reduce(Pack<W> a, F f) {
  if constexpr (detail::is_scalar<W>) {
    return a.v;
  } else {
    Pack<W / 2> low, high;
    detail::copy_bytes(&low, &a, sizeof low);
    detail::copy_bytes(&high, reinterpret_cast<const char*>(&a) + sizeof low, sizeof high);
    return reduce(f(low, high), f);
  }
}

/// Sum of all lanes.
template <int W>
OPHIS_INLINE_FUNCTION float reduce_add(Pack<W> a) {
  return reduce(a, [](auto x, auto y) { return x + y; });
}

/// Largest lane; NaN lanes are ignored or returned, whichever the comparison order gives.
template <int W>
OPHIS_INLINE_FUNCTION float reduce_max(Pack<W> a) {
  return reduce(a, [](auto x, auto y) { return max(x, y); });
}

namespace detail {

template <int W, class To, class From>
OPHIS_INLINE_FUNCTION Vector<To, W> convert_lanes(From from) {
  if constexpr (is_scalar<W>)
    return static_cast<To>(from);
  else
    return __builtin_convertvector(from, Vector<To, W>);
}

/// Lanes of 8 or 16 bits as such of 32. GCC 12 converts vectors half by half, and bytes one by one.
template <int W, class Unsigned>
OPHIS_INLINE_FUNCTION Vector<std::uint32_t, W> to_words(Vector<Unsigned, W> lanes) {
#if defined(OPHIS_HAS_AVX512)
  using Words = Vector<std::uint32_t, W>;
  if constexpr (W == 16 && sizeof(Unsigned) == 1)
    return std::bit_cast<Words>(_mm512_maskz_cvtepu8_epi32(0xffff, std::bit_cast<__m128i>(lanes)));
  if constexpr (W == 16 && sizeof(Unsigned) == 2)
    return std::bit_cast<Words>(_mm512_maskz_cvtepu16_epi32(0xffff, std::bit_cast<__m256i>(lanes)));
#endif
  if constexpr (sizeof(Unsigned) == 1)
    return convert_lanes<W, std::uint32_t>(convert_lanes<W, std::uint16_t>(lanes));
  else
    return convert_lanes<W, std::uint32_t>(lanes);
}

/// The storage word of T: its bits as an unsigned integer.
template <class T>
using StorageBits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>;

/// Of float16. The compilers' conversion of vectors goes lane by lane, and that on the bits takes ten
/// instructions.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> widen(Vector<std::uint16_t, W> halves) {
#if defined(OPHIS_HAS_F16C)
  if constexpr (W == 8) return std::bit_cast<Pack<W>>(_mm256_cvtph_ps(std::bit_cast<__m128i>(halves)));
#if defined(OPHIS_HAS_AVX512)
  if constexpr (W == 16)
    return std::bit_cast<Pack<W>>(_mm512_maskz_cvtph_ps(0xffff, std::bit_cast<__m256i>(halves)));
#endif
#endif
  const auto words = to_words<W, std::uint16_t>(halves);
  return std::bit_cast<Pack<W>>(float16_to_float_bits<typename Pack<W>::Floats>(words));
}

template <class T, int W>
OPHIS_INLINE_FUNCTION Pack<W> unpack(Vector<StorageBits<T>, W> bits) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<Pack<W>>(bits);
  else if constexpr (std::is_same_v<T, bfloat16>)
    return std::bit_cast<Pack<W>>(to_words<W, std::uint16_t>(bits) << 16);
  else
    return widen<W>(bits);
}

/// To float16.
template <int W>
OPHIS_INLINE_FUNCTION Vector<std::uint16_t, W> narrow(Pack<W> value) {
#if defined(OPHIS_HAS_F16C)
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  if constexpr (W == 8)
    return std::bit_cast<Vector<std::uint16_t, W>>(_mm256_cvtps_ph(std::bit_cast<__m256>(value), nearest));
#if defined(OPHIS_HAS_AVX512)
  if constexpr (W == 16)
    return std::bit_cast<Vector<std::uint16_t, W>>(
        _mm512_maskz_cvtps_ph(0xffff, std::bit_cast<__m512>(value), nearest));
#endif
#endif
  const auto words = std::bit_cast<typename Pack<W>::Words>(value);
  return convert_lanes<W, std::uint16_t>(float_to_float16_bits<typename Pack<W>::Floats>(words));
}

template <class T, int W>
OPHIS_INLINE_FUNCTION Vector<StorageBits<T>, W> pack_bits(Pack<W> value) {
  const auto words = std::bit_cast<typename Pack<W>::Words>(value);
  if constexpr (std::is_same_v<T, float>)
    return words;
  else if constexpr (std::is_same_v<T, bfloat16>)
    return convert_lanes<W, std::uint16_t>(float_to_bfloat16_bits(words));
  else
    return narrow<W>(value);
}

}  // namespace detail

/// Asks a CPU to fetch the cache line of an address, which need not be valid, before it is needed.
template <int W>
OPHIS_INLINE_FUNCTION void prefetch([[maybe_unused]] const void* address) {
  if constexpr (!detail::is_scalar<W>) __builtin_prefetch(address);
}

/// W consecutive elements, converted to float. A CPU needs no alignment, a GPU that of T.
template <int W, class T>
OPHIS_INLINE_FUNCTION Pack<W> load(const T* from) {
#if defined(OPHIS_DEVICE_CODE)
  if constexpr (W == 1) return Pack<W>(static_cast<float>(*from));  // bytes would be read one by one
#endif
  detail::Vector<detail::StorageBits<T>, W> bits;
  detail::copy_bytes(&bits, from, sizeof bits);
  return detail::unpack<T, W>(bits);
}

/// The first `count` (0..W) of W elements that lie `stride` apart; the other lanes are zero and are not read.
template <int W, class T>
OPHIS_INLINE_FUNCTION Pack<W> load(const T* from, std::int64_t stride, int count) {
  if constexpr (W == 1) return count == 1 ? load<W>(from) : Pack<W>(0.0f);
  if (stride == 1 && count == W) return load<W>(from);
  detail::StorageBits<T> lanes[W] = {};
  for (int i = 0; i < count; ++i) detail::copy_bytes(&lanes[i], from + i * stride, sizeof(T));
  detail::Vector<detail::StorageBits<T>, W> bits;
  detail::copy_bytes(&bits, lanes, sizeof bits);
  return detail::unpack<T, W>(bits);
}

/// Writes W consecutive elements, rounded to nearest even.
template <class T, int W>
OPHIS_INLINE_FUNCTION void store(T* to, Pack<W> value) {
#if defined(OPHIS_DEVICE_CODE)
  if constexpr (W == 1) {
    *to = T(value.v);
    return;
  }
#endif
  const auto bits = detail::pack_bits<T>(value);
  detail::copy_bytes(to, &bits, sizeof bits);
}

/// Writes the first `count` lanes, `stride` elements apart.
template <class T, int W>
OPHIS_INLINE_FUNCTION void store(T* to, std::int64_t stride, int count, Pack<W> value) {
  if constexpr (W == 1) {
    if (count == 1) store(to, value);
    return;
  }
  if (stride == 1 && count == W) return store(to, value);
  const auto bits = detail::pack_bits<T>(value);
  detail::StorageBits<T> lanes[W];
  detail::copy_bytes(lanes, &bits, sizeof bits);
  for (int i = 0; i < count; ++i) detail::copy_bytes(to + i * stride, &lanes[i], sizeof(T));
}

/// Writes a0, b0, a1, b1, ..., rounded to nearest even.
template <class T, int W>
OPHIS_INLINE_FUNCTION void store_pairs(T* to, Pack<W> a, Pack<W> b) {
  using Wide = std::conditional_t<sizeof(T) == 4, std::uint64_t, std::uint32_t>;
  const auto wide = [](Pack<W> value) {
    if constexpr (std::is_same_v<T, bfloat16>)  // lanes of 32 bits, before they are narrowed
      return detail::float_to_bfloat16_bits(std::bit_cast<typename Pack<W>::Words>(value));
    else
      return detail::convert_lanes<W, Wide>(detail::pack_bits<T>(value));
  };
  const auto pairs = wide(a) | (wide(b) << (8 * sizeof(T)));
  detail::copy_bytes(to, &pairs, sizeof pairs);
}

#if defined(OPHIS_HAS_AVX512_BF16)

/// Two bfloat16 in each lane.
using BFloat16Pairs = detail::Vector<std::uint32_t, 16>;

/// a and b of each lane, rounded to nearest even; numbers too small to be normal become zero.
OPHIS_INLINE_FUNCTION BFloat16Pairs to_pairs(Pack<16> a, Pack<16> b) {
  const auto both = _mm512_cvtne2ps_pbh(std::bit_cast<__m512>(b), std::bit_cast<__m512>(a));
  constexpr detail::Vector<std::uint16_t, 32> order{0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return std::bit_cast<BFloat16Pairs>(
      _mm512_permutexvar_epi16(std::bit_cast<__m512i>(order), std::bit_cast<__m512i>(both)));
}

/// The two products of each lane, added to c. Products are exact, sums rounded to nearest even.
OPHIS_INLINE_FUNCTION Pack<16> dot(BFloat16Pairs a, BFloat16Pairs b, Pack<16> c) {
  const auto pairs = [](BFloat16Pairs lanes) { return std::bit_cast<__m512bh>(lanes); };
  return std::bit_cast<Pack<16>>(_mm512_dpbf16_ps(std::bit_cast<__m512>(c), pairs(a), pairs(b)));
}

#endif

/// W consecutive bytes, words or the like, each as a 32-bit lane.
template <int W, class Unsigned>
OPHIS_INLINE_FUNCTION detail::Vector<std::uint32_t, W> load_words(const Unsigned* from) {
  detail::Vector<Unsigned, W> lanes;
  detail::copy_bytes(&lanes, from, sizeof lanes);
  return detail::to_words<W, Unsigned>(lanes);
}

/// Lanes below 2^31 as floats.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> to_floats(detail::Vector<std::uint32_t, W> lanes) {
  // Signed: what vector instructions before AVX-512 convert.
  return Pack<W>(detail::convert_lanes<W, float>(detail::convert_lanes<W, std::int32_t>(lanes)));
}

}  // namespace ophis
