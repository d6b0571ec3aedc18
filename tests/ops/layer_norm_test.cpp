#include "ophis/ops/layer_norm.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("layer_norm equals its reference") { test::require_parity("layer_norm"); }

TEST_CASE("layer_norm gives a row of mean zero and variance one") {
  ExecContext exec(test::device());
  TensorPool pool(0);
  LayerNormArgs args;
  args.x = pool.floats({1.0f, 2.0f, 3.0f, 4.0f});
  args.eps = 0.0;
  args.out = pool.poisoned(DType::float32, {4});
  layer_norm(exec, args);  // mean 2.5, variance 1.25
  const float* const out = args.out.data<float>();
  CHECK(out[0] == doctest::Approx(-1.5 / std::sqrt(1.25)));
  CHECK(out[3] == doctest::Approx(1.5 / std::sqrt(1.25)));
}

TEST_CASE("layer_norm works in place and gives a row the same bits alone") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  LayerNormArgs batch;
  batch.x = pool.uniform(DType::float16, {5, 77}, -1, 1);
  batch.residual = pool.uniform(DType::float32, {5, 77}, -9, 9);
  batch.weight = pool.uniform(DType::float32, {77}, 0, 2);
  batch.bias = pool.uniform(DType::float16, {77}, -1, 1);
  batch.residual_out = pool.poisoned(DType::float32, {5, 77});
  batch.out = pool.poisoned(DType::float16, {5, 77});
  LayerNormArgs alone = batch;
  alone.x = alone.out = pool.clone(batch.x.slice(0, 2, 3));
  alone.residual = alone.residual_out = pool.clone(batch.residual.slice(0, 2, 3));
  layer_norm(exec, batch);
  layer_norm(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 2, 3)));
  CHECK(test::same_bits(alone.residual_out, batch.residual_out.slice(0, 2, 3)));
}

TEST_CASE("layer_norm names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  LayerNormArgs bad;
  bad.x = pool.uniform(DType::float32, {2, 12}, -1, 1);
  CHECK_THROWS_WITH(layer_norm(exec, bad), "layer_norm: out must be given");
  bad.out = pool.poisoned(DType::float32, {2, 11});
  CHECK_THROWS_WITH(layer_norm(exec, bad), "layer_norm: out has shape (2, 11), but must have (2, 12)");
}
