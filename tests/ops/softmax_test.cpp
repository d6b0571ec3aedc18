#include "ophis/ops/softmax.hpp"

#include <cmath>
#include <limits>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("softmax equals its reference") { test::require_parity("softmax"); }

TEST_CASE("softmax gives a row the same bits alone, in a batch and in place") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  SoftmaxArgs batch;
  batch.x = pool.uniform(DType::float32, {3, 2500}, -9, 9);
  batch.out = pool.poisoned(DType::float32, {3, 2500});
  softmax(exec, batch);
  SoftmaxArgs alone;
  alone.x = alone.out = pool.clone(batch.x.slice(0, 1, 2));
  softmax(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 1, 2)));
}

TEST_CASE("softmax takes large logits, and -inf as probability zero") {
  ExecContext exec(test::device());
  constexpr float infinity = std::numeric_limits<float>::infinity();
  TensorPool pool(3);
  std::vector<float> x(2000, -infinity);
  x[5] = x[1999] = 1e30f;
  SoftmaxArgs args;
  args.x = pool.floats(x);
  args.out = pool.poisoned(DType::float32, {2000});
  const float* const out = args.out.data<float>();
  softmax(exec, args);
  CHECK(out[5] == 0.5f);
  CHECK(out[1999] == 0.5f);
  CHECK(out[6] == 0.0f);
  args.log = true;
  softmax(exec, args);
  CHECK(out[5] == doctest::Approx(-std::log(2.0)));
  CHECK(out[6] == -infinity);
}

TEST_CASE("softmax gives NaN for a row that has no distribution") {
  ExecContext exec(test::device());
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    TensorPool pool(4);
    std::vector<float> x(1030, value == -infinity ? value : 0.0f);
    x[1025] = value;
    const SoftmaxArgs args{pool.floats(x), false, pool.floats(std::vector<float>(1030, -1.0f))};
    softmax(exec, args);
    const float* const out = args.out.data<float>();
    CHECK(std::isnan(out[1025]));
    CHECK((value == infinity || std::isnan(out[0])));
  }
}

TEST_CASE("softmax names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  SoftmaxArgs bad;
  bad.x = pool.uniform(DType::float32, {2, 5}, -1, 1);
  CHECK_THROWS_WITH(softmax(exec, bad), "softmax: out must be given");
  bad.out = pool.poisoned(DType::bfloat16, {2, 5});
  CHECK_THROWS_WITH(softmax(exec, bad), "softmax: out is bfloat16, but must be float32");
}
