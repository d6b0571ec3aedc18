#include "ophis/ops/linear.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("linear equals its reference") { test::require_parity("linear"); }

TEST_CASE("linear takes any number of leading axes, however they are spaced") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const Tensor wide = pool.uniform(DType::float32, {2, 3, 20}, -1, 1);
  const Tensor weight = pool.uniform(DType::float32, {7, 12}, -1, 1);
  const Tensor out = pool.poisoned(DType::float32, {2, 3, 7});
  const LinearArgs args{wide.slice(2, 4, 16), weight, {}, out};
  linear(exec, args);
  const Tensor flat = pool.poisoned(DType::float32, {6, 7});
  linear(exec, {wide.slice(2, 4, 16).reshape({6, 12}), weight, {}, flat});
  CHECK(test::same_bits(out.reshape({6, 7}), flat));

  const Tensor slice = wide.slice(2, 4, 16).slice(1, 0, 2);
  const Tensor uneven = pool.poisoned(DType::float32, {2, 3, 7}).slice(1, 1, 3);
  linear(exec, {slice, weight, {}, uneven});
  CHECK(test::same_bits(uneven, out.slice(1, 0, 2)));
}

TEST_CASE("linear names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  const LinearArgs good{pool.uniform(DType::float32, {4, 6}, -1, 1),
                        pool.uniform(DType::float32, {5, 6}, -1, 1),
                        {},
                        pool.poisoned(DType::float32, {4, 5})};
  LinearArgs bad = good;
  bad.x = pool.uniform(DType::float32, {4, 7}, -1, 1);
  CHECK_THROWS_WITH(linear(exec, bad), "linear: x has shape (4, 7), but weight (5, 6) takes 6 features");
  bad = good;
  bad.weight = pool.uniform(DType::bfloat16, {5, 6}, -1, 1);
  CHECK_THROWS_WITH(linear(exec, bad), "linear: weight is bfloat16, but must be float32");
  bad = good;
  bad.weight = pool.uniform(DType::float32, {6, 5}, -1, 1).transpose(0, 1);
  CHECK_THROWS_WITH(linear(exec, bad), "linear: the last axis of weight must be dense, but its stride is 5");
}
