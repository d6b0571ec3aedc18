#include "ophis/ops/softmax.hpp"

#include <cmath>
#include <limits>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using parity::TensorPool;

TEST_CASE("softmax equals its reference") { test::require_parity("softmax"); }

TEST_CASE("softmax gives a row the same bits alone, in a batch and in place") {
  ExecContext exec;
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
  ExecContext exec;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x(2000, -infinity), out(2000, -1.0f);
  x[5] = x[1999] = 1e30f;
  SoftmaxArgs args;
  args.x = Tensor(x.data(), DType::float32, {2000});
  args.out = Tensor(out.data(), DType::float32, {2000});
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
  ExecContext exec;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    std::vector<float> x(1030, value == -infinity ? value : 0.0f), out(1030, -1.0f);
    x[1025] = value;
    const SoftmaxArgs args{Tensor(x.data(), DType::float32, {1030}), false,
                           Tensor(out.data(), DType::float32, {1030})};
    softmax(exec, args);
    CHECK(std::isnan(out[1025]));
    CHECK((value == infinity || std::isnan(out[0])));
  }
}

TEST_CASE("softmax names what is wrong with its arguments") {
  ExecContext exec;
  TensorPool pool(2);
  SoftmaxArgs bad;
  bad.x = pool.uniform(DType::float32, {2, 5}, -1, 1);
  CHECK_THROWS_WITH(softmax(exec, bad), "softmax: out must be given");
  bad.out = pool.poisoned(DType::bfloat16, {2, 5});
  CHECK_THROWS_WITH(softmax(exec, bad), "softmax: out is bfloat16, but must be float32");
}
