#include "ophis/ops/quantized_linear.hpp"

#include <cmath>
#include <limits>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

/// in features, codes of 4 bits in groups of 32.
QuantizedLinearArgs int4_weight(TensorPool& pool, std::int64_t out, std::int64_t in) {
  QuantizedLinearArgs args;
  args.weight = pool.bytes({out, in / 2});
  args.weight_scale = pool.uniform(DType::float32, {out, in / 32}, 0.1, 0.2);
  return args;
}

}  // namespace

TEST_CASE("quantized_linear equals its reference") { test::require_parity("quantized_linear"); }

TEST_CASE("quantized_linear takes codes in the order that the documentation says") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const Tensor codes = pool.bytes({1, 4});
  const std::uint8_t bytes[] = {0x98, 0x70, 0x8f, 0x88};  // 0, 1, -8, -1, 7, 0, 0, 0
  std::copy(std::begin(bytes), std::end(bytes), codes.data<std::uint8_t>());
  const Tensor x = pool.poisoned(DType::float32, {1, 8}), out = pool.poisoned(DType::float32, {1, 1});
  const Tensor scale = pool.poisoned(DType::float32, {1, 1});
  *scale.data<float>() = 0.5f;
  for (int i = 0; i < 8; ++i) x.data<float>()[i] = static_cast<float>(1 << (4 * (i % 6)));
  QuantizedLinearArgs args;
  args.x = x;
  args.weight = codes;
  args.weight_scale = scale;
  args.out = out;
  quantized_linear(exec, args);
  exec.fence();
  CHECK(*out.data<float>() == 0.5f * (16.0f - 8.0f * 256.0f - 4096.0f + 7.0f * 65536.0f));
}

TEST_CASE("quantized_linear gives a row the same bits alone and among others") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  QuantizedLinearArgs args = int4_weight(pool, 37, 160);
  args.x = pool.uniform(DType::bfloat16, {8, 160}, -1, 1);
  args.out = pool.poisoned(DType::bfloat16, {8, 37});
  quantized_linear(exec, args);
  for (std::int64_t r = 0; r < 8; ++r) {
    QuantizedLinearArgs one = args;
    one.x = args.x.slice(0, r, r + 1);
    one.out = pool.poisoned(DType::bfloat16, {1, 37});
    quantized_linear(exec, one);
    exec.fence();
    CHECK(test::same_bits(one.out, args.out.slice(0, r, r + 1)));
  }
}

TEST_CASE("quantized_linear takes inputs of any magnitude, and lets none that is not finite vanish") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  QuantizedLinearArgs args = int4_weight(pool, 5, 256);
  args.out = pool.poisoned(DType::float32, {1, 5});
  args.x = pool.uniform(DType::float32, {1, 256}, -1, 1);
  const Tensor ones = pool.poisoned(DType::float32, {1, 5});
  QuantizedLinearArgs usual = args;
  usual.out = ones;
  quantized_linear(exec, usual);
  exec.fence();
  for (const float factor : {0x1p-60f, 0x1p60f}) {
    CAPTURE(factor);
    args.x = pool.poisoned(DType::float32, {1, 256});
    for (int i = 0; i < 256; ++i) args.x.data<float>()[i] = factor * usual.x.data<float>()[i];
    quantized_linear(exec, args);
    exec.fence();
    for (int o = 0; o < 5; ++o)
      CHECK(args.out.data<float>()[o] / factor == doctest::Approx(ones.data<float>()[o]).epsilon(1e-4));
  }
  for (const float strange : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    args.x.data<float>()[200] = strange;
    quantized_linear(exec, args);
    exec.fence();
    for (int o = 0; o < 5; ++o) CHECK_FALSE(std::isfinite(args.out.data<float>()[o]));
  }
}

TEST_CASE("quantized_linear names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  QuantizedLinearArgs good = int4_weight(pool, 5, 64);
  good.x = pool.uniform(DType::float32, {4, 64}, -1, 1);
  good.out = pool.poisoned(DType::float32, {4, 5});
  quantized_linear(exec, good);
  QuantizedLinearArgs bad = good;
  bad.x = pool.uniform(DType::float32, {4, 72}, -1, 1);
  CHECK_THROWS_WITH(
      quantized_linear(exec, bad),
      "quantized_linear: weight has shape (5, 32), but 72 codes of 8 or of 4 bits take 72 or 36 "
      "bytes");
  bad = good;
  bad.x = pool.uniform(DType::float32, {4, 63}, -1, 1);
  CHECK_THROWS_WITH(
      quantized_linear(exec, bad),
      "quantized_linear: there are 63 input features, but a quantized weight takes a multiple of "
      "8");
  bad = good;
  bad.weight_scale = pool.uniform(DType::float32, {5, 3}, 0.1, 0.2);
  CHECK_THROWS_WITH(
      quantized_linear(exec, bad),
      "quantized_linear: weight_scale has shape (5, 3), but groups of 64 inputs must all have the "
      "same size, a multiple of 8");
  bad = good;
  bad.weight_scale = {};
  CHECK_THROWS_WITH(quantized_linear(exec, bad), "quantized_linear: weight_scale must be given");
  bad = good;
  bad.weight_shift = pool.uniform(DType::float32, {5, 1}, 0.1, 0.2);
  CHECK_THROWS_WITH(quantized_linear(exec, bad),
                    "quantized_linear: weight_shift has shape (5, 1), but must have (5, 2)");
  bad = good;
  bad.weight = pool.uniform(DType::float32, {5, 32}, -1, 1);
  CHECK_THROWS_WITH(quantized_linear(exec, bad), "quantized_linear: weight is float32, but must be uint8");
}
