// Elementary functions on packs. exp is accurate to 2 ulp over the whole range, subnormal results included;
// exp2 is the cheaper one for decays.
#pragma once

#include <utility>

#include "ophis/core/simd.hpp"

namespace ophis {
namespace detail {

#if defined(OPHIS_HAS_AVX512)
/// The nearest integers.
inline Pack<16> round(Pack<16> x) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return std::bit_cast<Pack<16>>(_mm512_maskz_roundscale_ps(0xffff, std::bit_cast<__m512>(x), nearest));
}
/// x 2^n for integers n, right at infinity and in the subnormal range.
inline Pack<16> scale(Pack<16> x, Pack<16> n) {
  return std::bit_cast<Pack<16>>(
      _mm512_maskz_scalef_ps(0xffff, std::bit_cast<__m512>(x), std::bit_cast<__m512>(n)));
}
#endif

/// e^(x - n ln 2) for the integer n nearest to x / ln 2.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> exp_fraction(Pack<W> x, Pack<W> n) {
  using P = Pack<W>;
  P r = fma(n, P(-0.693145751953125f), x);
  r = fma(n, P(-1.42860682030941723e-6f), r);
  P p(1.9875691500e-4f);
  p = fma(p, r, P(1.3981999507e-3f));
  p = fma(p, r, P(8.3334519073e-3f));
  p = fma(p, r, P(4.1665795894e-2f));
  p = fma(p, r, P(1.6666665459e-1f));
  p = fma(p, r, P(5.0000001201e-1f));
  return fma(p * r, r, r) + P(1.0f);
}

}  // namespace detail

/// e^x. Cody-Waite reduction by ln 2 in two parts, then 1 + r + r^2 P(r) on [-ln2/2, ln2/2] with
/// the minimax polynomial P of the Cephes library's expf.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> exp(Pack<W> x) {
  using Words = typename Pack<W>::Words;
  using P = Pack<W>;
  // Outside this range the result is 0 or infinity; NaN passes, being the second argument.
  x = min(P(89.0f), max(P(-104.0f), x));
#if defined(OPHIS_HAS_AVX512)
  if constexpr (W == 16) {
    const P n = detail::round(x * P(1.44269504088896341f));
    return detail::scale(detail::exp_fraction(x, n), n);
  }
#endif

  constexpr float round_to_integer =
      12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const P shifted = fma(x, P(1.44269504088896341f), P(round_to_integer));
  const P p = detail::exp_fraction(x, shifted - P(round_to_integer));

  // 2^n as 2^(n/2) * 2^(n - n/2), so that neither factor leaves the normal range.
  using Ints = detail::Vector<std::int32_t, W>;
  const Ints exponent = std::bit_cast<Ints>(shifted) - std::bit_cast<std::int32_t>(round_to_integer);
  const Ints half = exponent >> 1;
  const auto power = [](Ints e) { return std::bit_cast<P>(std::bit_cast<Words>(e + 127) << 23); };
  return p * power(half) * power(exponent - half);
}

namespace detail {

/// 2^r on [-1/2, 1/2]: 1 + r P(r) with P fitted for the least relative error (4e-9), so that it is exact at
/// 0: the decay of a slow state has no bias that a long sequence could pile up.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> exp2_fraction(Pack<W> r) {
  using P = Pack<W>;
  P p(1.5196693130e-4f);
  p = fma(p, r, P(1.3391304528e-3f));
  p = fma(p, r, P(9.6190022305e-3f));
  p = fma(p, r, P(5.5503588170e-2f));
  p = fma(p, r, P(2.4022643268e-1f));
  p = fma(p, r, P(6.9314718246e-1f));
  return fma(p, r, P(1.0f));
}

}  // namespace detail

/// 2^x to 2 ulp where the result lies between 2^-126 and 2^127.5; zero (with AVX-512 subnormal or zero) below
/// about 2^-126.5, infinity above.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> exp2(Pack<W> x) {
  using P = Pack<W>;
#if defined(OPHIS_HAS_AVX512)
  if constexpr (W == 16) {  // a third of a scan's time
    const P n = detail::round(x);
    return detail::scale(detail::exp2_fraction(x - n), n);
  }
#endif
  x = min(P(128.0f), max(P(-127.0f), x));  // NaN passes, being the second argument

  constexpr float round_and_bias = 12582912.0f + 127.0f;  // leaves the biased exponent in the low bits
  const P shifted = x + P(round_and_bias);
  const P fraction = detail::exp2_fraction(x - (shifted - P(round_and_bias)));
  return fraction * std::bit_cast<P>(std::bit_cast<typename P::Words>(shifted) << 23);
}

/// 1 / (1 + e^-x).
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> sigmoid(Pack<W> x) {
  return Pack<W>(1.0f) / (Pack<W>(1.0f) + exp(-x));
}

/// x * sigmoid(x).
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> silu(Pack<W> x) {
  return x / (Pack<W>(1.0f) + exp(-x));
}

/// log(1 + x) for x >= 0, to a few ulp. 1 + x is split into m * 2^e with m in [sqrt(1/2), sqrt(2)); the
/// rounding error of 1 + x is put back to first order.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> log1p(Pack<W> x) {
  using P = Pack<W>;
  using Words = typename P::Words;
  using Ints = detail::Vector<std::int32_t, W>;
  const P u = P(1.0f) + x;
  const P lost = x - (u - P(1.0f));

  constexpr std::uint32_t sqrt_half = 0x3f3504f3u;
  const Words bits = std::bit_cast<Words>(u) - sqrt_half;
  const Ints exponent = std::bit_cast<Ints>(bits) >> 23;
  const P m = std::bit_cast<P>((bits & 0x7fffffu) + sqrt_half);
  const P e(detail::convert_lanes<W, float>(exponent));

  // log(m) = 2 atanh(s) with s = (m - 1) / (m + 1), |s| < 0.1716.
  const P s = (m - P(1.0f)) / (m + P(1.0f));
  const P s2 = s * s;
  P p(0.2222222222f);
  p = fma(p, s2, P(0.2857142857f));
  p = fma(p, s2, P(0.4f));
  p = fma(p, s2, P(0.6666666667f));
  const P log_m = fma(p * s2, s, s + s);
  const P log_u = fma(e, P(0.693147180559945f), log_m + lost / u);
  return P(x.v > 1e-7f ? log_u.v : x.v);  // below, 1 + x loses x; also passes NaN through
}

/// log(1 + e^x), as max(x, 0) + log(1 + e^-|x|). The latter is 2 atanh(s) with s = e^-|x| / (2 + e^-|x|), at
/// most 1/3: 2 s + s^3 P(s^2), P fitted for the least relative error of the whole (5e-9).
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> softplus(Pack<W> x) {
  using P = Pack<W>;
  const P e = exp(-max(x, -x));
  const P s = e / (e + P(2.0f)), s2 = s * s;
  P p(0.2801201006f);
  p = fma(p, s2, P(0.2800180093f));
  p = fma(p, s2, P(0.4002152748f));
  p = fma(p, s2, P(0.6666641628f));
  return max(x, P(0.0f)) + fma(p * s2, s, s + s);
}

/// The hyperbolic tangent, to 4 ulp: x + x^3 P(x^2) up to 0.625 (P: a minimax fit, 4.4e-9), 1 - 2 / (e^2x +
/// 1) above.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> tanh(Pack<W> x) {
  using P = Pack<W>;
  const P magnitude = max(x, -x);
  const P x2 = x * x;
  P p(-5.705044401e-3f);
  p = fma(p, x2, P(2.063919170e-2f));
  p = fma(p, x2, P(-5.373976952e-2f));
  p = fma(p, x2, P(0.1333144322f));
  p = fma(p, x2, P(-0.33333282f));
  const P small = fma(p * x2, x, x);
  const P large = P(1.0f) - P(2.0f) / (exp(magnitude + magnitude) + P(1.0f));
  const P signed_large = P(x.v < 0.0f ? (-large).v : large.v);
  return P(magnitude.v > 0.625f ? signed_large.v : small.v);  // NaN goes the small way
}

/// The cumulative distribution of the standard normal, to 2^-23 absolutely and for x < 0 to 2^-23 x^2
/// relatively. Its tail is e^(-x^2/2) t P(t) with t = 1 / (1 + 0.3 |x|) and P a minimax fit (3.5e-9).
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> normal_cdf(Pack<W> x) {
  using P = Pack<W>;
  P a = max(x, -x);
  a = P(a.v > 15.0f ? P(15.0f).v : a.v);  // the tail is 0 there; NaN passes through
  const P t = P(1.0f) / fma(a, P(0.3f), P(1.0f));
  P p(-2.062858238e-2f);
  p = fma(p, t, P(0.1124643704f));
  p = fma(p, t, P(-0.2282838088f));
  p = fma(p, t, P(0.1918820094f));
  p = fma(p, t, P(-7.950812338e-2f));
  p = fma(p, t, P(9.620438313e-2f));
  p = fma(p, t, P(7.837240100e-2f));
  p = fma(p, t, P(0.1102393109f));
  p = fma(p, t, P(0.1195713215f));
  p = fma(p, t, P(0.1196867165f));
  const P tail = exp(a * a * P(-0.5f)) * (p * t);
  return P(x.v < 0.0f ? tail.v : (P(1.0f) - tail).v);
}

namespace detail {

/// a0 + a1, a2 + a3, ..., b0 + b1, ...
template <int W, int... i>
OPHIS_INLINE_FUNCTION Pack<W> add_neighbours(Pack<W> a, Pack<W> b, std::integer_sequence<int, i...>) {
  using Floats = typename Pack<W>::Floats;
  const Floats even{(2 * i < W ? a : b).v[2 * i % W]...};
  const Floats odd{(2 * i < W ? a : b).v[(2 * i + 1) % W]...};
  return Pack<W>(even + odd);
}

template <int W, int count>
OPHIS_INLINE_FUNCTION Pack<W> add_rows(const Pack<W>* rows) {
  if constexpr (count == 1)
    return rows[0];
  else
    return add_neighbours(add_rows<W, count / 2>(rows), add_rows<W, count / 2>(rows + count / 2),
                          std::make_integer_sequence<int, W>{});
}

}  // namespace detail

/// Lane i is the sum of all lanes of rows[i]: W sums for a third of what they take one by one.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> reduce_add_rows(const Pack<W> (&rows)[W]) {
  if constexpr (detail::is_scalar<W>)
    return rows[0];
  else
    return detail::add_rows<W, W>(rows);
}

}  // namespace ophis
