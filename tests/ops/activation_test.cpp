#include "ophis/ops/activation.hpp"

#include <cmath>
#include <limits>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("activation equals its reference") { test::require_parity("activation"); }

TEST_CASE("activation works in place, on any layout, with the same bits") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const Tensor x = pool.uniform(DType::bfloat16, {3, 70, 9}, -5, 5);
  const ActivationArgs apart{x, Activation::gelu, pool.poisoned(DType::bfloat16, {3, 70, 9}, {{0, 2, 1}, 2})};
  activation(exec, apart);
  const Tensor same = pool.clone(x);
  activation(exec, {same, Activation::gelu, same});
  CHECK(test::same_bits(same, apart.out));
}

TEST_CASE("activation keeps NaN") {
  ExecContext exec(test::device());
  for (int kind = 0; kind <= static_cast<int>(Activation::softplus); ++kind) {
    TensorPool pool(0);
    const Tensor tensor = pool.floats({std::numeric_limits<float>::quiet_NaN(), 1.0f});
    activation(exec, {tensor, static_cast<Activation>(kind), tensor});
    const float* const x = tensor.data<float>();
    CAPTURE(to_string(static_cast<Activation>(kind)));
    CHECK(std::isnan(x[0]));
    CHECK(std::isfinite(x[1]));
  }
}

TEST_CASE("parse_activation takes Hugging Face's names and its own") {
  CHECK(parse_activation("silu") == Activation::silu);
  CHECK(parse_activation("swish") == Activation::silu);
  CHECK(parse_activation("gelu") == Activation::gelu);
  CHECK(parse_activation("gelu_new") == Activation::gelu_tanh);
  CHECK(parse_activation("gelu_pytorch_tanh") == Activation::gelu_tanh);
  CHECK(parse_activation("linear") == Activation::identity);
  for (int kind = 0; kind <= static_cast<int>(Activation::softplus); ++kind) {
    CHECK(parse_activation(to_string(static_cast<Activation>(kind))) == static_cast<Activation>(kind));
  }
  CHECK_THROWS_WITH(
      parse_activation("nonesuch"),
      "unknown activation 'nonesuch'; known: identity, silu, gelu, gelu_tanh, quick_gelu, relu, "
      "relu2, sigmoid, tanh, softplus, linear, swish, gelu_python, gelu_new, gelu_fast, "
      "gelu_accurate, gelu_pytorch_tanh");
}

TEST_CASE("activation names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  ActivationArgs bad{pool.uniform(DType::float32, {2, 9}, -1, 1), Activation::silu, Tensor()};
  CHECK_THROWS_WITH(activation(exec, bad), "activation: out must be given");
  bad.out = pool.poisoned(DType::float32, {9, 2});
  CHECK_THROWS_WITH(activation(exec, bad), "activation: out has shape (9, 2), but must have (2, 9)");
}
