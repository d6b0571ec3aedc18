#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "ophis/core/simd_math.hpp"

namespace {

using ophis::bfloat16;
using ophis::float16;
using ophis::Pack;

/// Distance in units of the last place of the float nearest to `want`.
double ulp_error(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  if (std::isinf(static_cast<float>(want)) || std::isinf(got))
    return got == static_cast<float>(want) ? 0 : 1e9;
  const float nearest = static_cast<float>(want);
  const double ulp = std::max<double>(std::nextafter(std::fabs(nearest), INFINITY) - std::fabs(nearest),
                                      std::numeric_limits<float>::denorm_min());
  return std::fabs(static_cast<double>(got) - want) / ulp;
}

/// The largest error of `f` on packs and on single lanes, over inputs in [low, high].
template <class F, class Reference>
double worst_error(F f, Reference reference, float low, float high) {
  std::mt19937 engine(7);
  std::uniform_real_distribution<float> uniform(low, high);
  double worst = 0;
  constexpr int width = ophis::native_pack_width;
  for (int round = 0; round < 20000; ++round) {
    std::array<float, width> x;
    for (float& value : x) value = uniform(engine);
    const Pack<width> y = f(ophis::load<width>(x.data()));
    for (int i = 0; i < width; ++i) {
      const double want = reference(static_cast<double>(x[static_cast<std::size_t>(i)]));
      worst = std::max(worst, ulp_error(y.lane(i), want));
      worst = std::max(worst, ulp_error(f(Pack<1>(x[static_cast<std::size_t>(i)])).lane(0), want));
    }
  }
  return worst;
}

/// Of an exponential: 0, infinity, NaN and what overflows or underflows.
template <int W, class F>
void check_far_out(F f) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
  const auto at = [&](float x) { return f(Pack<W>(x)).lane(W - 1); };
  CHECK(at(0.0f) == 1.0f);
  CHECK(std::isnan(at(nan)));
  CHECK(std::isnan(at(std::bit_cast<float>(0xffc01fffu))));
  CHECK(at(128.0f) == infinity);
  for (const float x : {150.0f, 1e10f, largest, infinity}) {
    CHECK(at(x) == infinity);
    CHECK(at(-x) == 0.0f);
  }
}

}  // namespace

TEST_CASE("exp is accurate to 2 ulp") {
  const auto f = [](auto x) { return ophis::exp(x); };
  const auto reference = [](double x) { return std::exp(x); };
  CHECK(worst_error(f, reference, -1.0f, 1.0f) <= 2.0);
  CHECK(worst_error(f, reference, -110.0f, 95.0f) <= 2.0);
  CHECK(worst_error(f, reference, -1e-4f, 1e-4f) <= 2.0);
  check_far_out<4>(f);
  check_far_out<ophis::native_pack_width>(f);
}

TEST_CASE("tanh and normal_cdf follow their definitions") {
  const auto f = [](auto x) { return ophis::tanh(x); };
  const auto reference = [](double x) { return std::tanh(x); };
  CHECK(worst_error(f, reference, -0.7f, 0.7f) <= 4.0);
  CHECK(worst_error(f, reference, -100.0f, 100.0f) <= 4.0);
  CHECK(worst_error(f, reference, -1e-4f, 1e-4f) <= 4.0);
  CHECK(std::isnan(f(Pack<4>(std::numeric_limits<float>::quiet_NaN())).lane(0)));

  const auto cdf = [](auto x) { return ophis::normal_cdf(x); };
  const auto cdf_reference = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  CHECK(worst_error(cdf, cdf_reference, 0.0f, 20.0f) <= 4.0);
  CHECK(worst_error(cdf, cdf_reference, -1.0f, 0.0f) <= 8.0);
  CHECK(worst_error(cdf, cdf_reference, -8.0f, 0.0f) <= 64.0);
  CHECK(std::isnan(cdf(Pack<4>(std::numeric_limits<float>::quiet_NaN())).lane(0)));
  CHECK(cdf(Pack<4>(-std::numeric_limits<float>::infinity())).lane(0) == 0.0f);
  CHECK(cdf(Pack<4>(std::numeric_limits<float>::infinity())).lane(0) == 1.0f);
}

TEST_CASE("exp2 is accurate to 2 ulp") {
  const auto f = [](auto x) { return ophis::exp2(x); };
  const auto reference = [](double x) { return std::exp2(x); };
  CHECK(worst_error(f, reference, -1.0f, 1.0f) <= 2.0);
  CHECK(worst_error(f, reference, -126.0f, 127.5f) <= 2.0);
  CHECK(worst_error(f, reference, -1e-4f, 1e-4f) <= 2.0);
  check_far_out<4>(f);
  check_far_out<ophis::native_pack_width>(f);
}

TEST_CASE("a broadcast keeps the bits") {
  CHECK(std::signbit(Pack<4>(-0.0f).lane(2)));
  CHECK(std::signbit(Pack<1>(-0.0f).lane(0)));
}

TEST_CASE("log1p, softplus, silu and sigmoid follow their definitions") {
  CHECK(worst_error([](auto x) { return ophis::log1p(x); }, [](double x) { return std::log1p(x); }, 0.0f,
                    4.0f) <= 4.0);
  CHECK(worst_error([](auto x) { return ophis::log1p(x); }, [](double x) { return std::log1p(x); }, 0.0f,
                    5e8f) <= 4.0);
  CHECK(worst_error([](auto x) { return ophis::log1p(x); }, [](double x) { return std::log1p(x); }, 0.0f,
                    1e-3f) <= 4.0);
  const auto softplus = [](double x) { return x > 20 ? x : std::log1p(std::exp(x)); };
  CHECK(worst_error([](auto x) { return ophis::softplus(x); }, softplus, -60.0f, 30.0f) <= 4.0);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  CHECK(worst_error([](auto x) { return ophis::sigmoid(x); }, sigmoid, -80.0f, 80.0f) <= 4.0);
  CHECK(worst_error([](auto x) { return ophis::silu(x); }, [&](double x) { return x * sigmoid(x); }, -80.0f,
                    80.0f) <= 4.0);
  CHECK(worst_error([](auto x) { return ophis::softplus(x); }, softplus, -1e-3f, 1e-3f) <= 4.0);
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(std::isnan(ophis::softplus(Pack<4>(std::numeric_limits<float>::quiet_NaN())).lane(0)));
  CHECK(ophis::softplus(Pack<4>(infinity)).lane(0) == infinity);
  CHECK(ophis::softplus(Pack<4>(-infinity)).lane(0) == 0.0f);
}

TEST_CASE_TEMPLATE("packs round to 16 bits as single values do", T, ophis::float16, ophis::bfloat16) {
  constexpr int width = ophis::native_pack_width;
  std::mt19937 engine(11);
  for (int round = 0; round < 20000; ++round) {
    std::array<float, width> x;
    for (float& value : x) value = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
    std::array<T, width> stored;
    std::array<T, 2 * width> pairs;
    ophis::store(stored.data(), ophis::load<width>(x.data()));
    ophis::store_pairs(pairs.data(), ophis::load<width>(x.data()), -ophis::load<width>(x.data()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        CHECK(std::isnan(static_cast<float>(stored[i])));
      } else {
        CHECK(stored[i].bits == T(x[i]).bits);
        CHECK(pairs[2 * i].bits == T(x[i]).bits);
        CHECK(pairs[2 * i + 1].bits == T(-x[i]).bits);
      }
    }
  }
}

TEST_CASE("every float16 and bfloat16 survives the way through float") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    float16 half{};
    half.bits = static_cast<std::uint16_t>(bits);
    const float wide = static_cast<float>(half);
    if (std::isnan(wide))
      CHECK(std::isnan(static_cast<float>(float16(wide))));
    else
      CHECK(float16(wide).bits == half.bits);
    bfloat16 brain{};
    brain.bits = static_cast<std::uint16_t>(bits);
    const float wide_brain = static_cast<float>(brain);
    if (std::isnan(wide_brain))
      CHECK(std::isnan(static_cast<float>(bfloat16(wide_brain))));
    else
      CHECK(bfloat16(wide_brain).bits == brain.bits);
  }
}

TEST_CASE("rounding to 16 bits goes to the nearest, ties to even") {
  CHECK(float16(65504.0f).bits == 0x7bff);
  CHECK(float16(65519.996f).bits == 0x7bff);
  CHECK(float16(65520.0f).bits == 0x7c00);  // halfway to 2^16: infinity
  CHECK(float16(-1e30f).bits == 0xfc00);
  CHECK(float16(0x1p-25f).bits == 0);  // halfway between 0 and the smallest subnormal
  CHECK(float16(0x1.8p-25f).bits == 1);
  CHECK(float16(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(float16(1.0f + 0x1.8p-10f).bits == 0x3c02);
  CHECK(bfloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(bfloat16(1.0f + 0x1.8p-7f).bits == 0x3f82);
  CHECK(bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
}

TEST_CASE_TEMPLATE("loads and stores convert, stride and stop at the count", T, float, bfloat16, float16) {
  constexpr int width = ophis::native_pack_width;
  std::array<T, 3 * width> from;
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = T(static_cast<float>(i) - 7.5f);
  const Pack<width> dense = ophis::load<width>(from.data() + 1);
  const Pack<width> strided = ophis::load<width>(from.data(), 3, width - 1);
  for (int i = 0; i < width; ++i) {
    CHECK(dense.lane(i) == static_cast<float>(i + 1) - 7.5f);
    CHECK(strided.lane(i) == (i == width - 1 ? 0.0f : static_cast<float>(3 * i) - 7.5f));
  }
  std::array<T, 2 * width> to;
  to.fill(T(99.0f));
  ophis::store(to.data(), 2, width - 1, dense);
  for (int i = 0; i < width; ++i) {
    CHECK(static_cast<float>(to[static_cast<std::size_t>(2 * i)]) == (i < width - 1 ? dense.lane(i) : 99.0f));
    CHECK(static_cast<float>(to[static_cast<std::size_t>(2 * i + 1)]) == 99.0f);
  }
}

TEST_CASE_TEMPLATE("bytes and words become lanes of 32 bits, those numbers", Unsigned, std::uint8_t,
                   std::uint16_t) {
  constexpr int width = ophis::native_pack_width;
  std::array<Unsigned, width + 1> from;
  for (std::size_t i = 0; i < from.size(); ++i)
    from[i] = static_cast<Unsigned>(std::numeric_limits<Unsigned>::max() - 3 * i);
  const Pack<width> lanes = ophis::to_floats<width>(ophis::load_words<width>(from.data() + 1));
  for (int i = 0; i < width; ++i)
    CHECK(lanes.lane(i) == static_cast<float>(from[static_cast<std::size_t>(i + 1)]));
}

#if defined(OPHIS_HAS_AVX512_BF16)
TEST_CASE("pairs of bfloat16 are rounded and multiplied") {
  std::array<float, 16> a, b, c, d, sum;
  std::mt19937 engine(3);
  std::uniform_real_distribution<float> uniform(-2, 2);
  for (auto* const lanes : {&a, &b, &c, &d, &sum}) {
    for (float& lane : *lanes) lane = uniform(engine);
  }
  const auto pack = [](const std::array<float, 16>& lanes) { return ophis::load<16>(lanes.data()); };
  const Pack<16> got =
      ophis::dot(ophis::to_pairs(pack(a), pack(b)), ophis::to_pairs(pack(c), pack(d)), pack(sum));
  for (std::size_t i = 0; i < 16; ++i) {
    const auto rounded = [](float x) { return static_cast<double>(static_cast<float>(bfloat16(x))); };
    const double want =
        rounded(a[i]) * rounded(c[i]) + rounded(b[i]) * rounded(d[i]) + static_cast<double>(sum[i]);
    CHECK(std::fabs(static_cast<double>(got.lane(static_cast<int>(i))) - want) < 1e-6);
  }
}
#endif

TEST_CASE("reductions use every lane") {
  std::array<float, 16> x;
  for (int i = 0; i < 16; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i * i);
  CHECK(ophis::reduce_add(ophis::load<16>(x.data())) == 1240.0f);
  CHECK(ophis::reduce_max(ophis::load<16>(x.data())) == 225.0f);
}
