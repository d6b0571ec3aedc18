#include "ophis/ops/cross_entropy.hpp"

#include <cmath>

#include "ophis/ops/softmax.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("cross_entropy equals its reference") { test::require_parity("cross_entropy"); }

TEST_CASE("cross_entropy is the negative of softmax's logarithm at the label") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const Tensor logits = pool.uniform(DType::float32, {2, 1500}, -5, 5);
  const CrossEntropyArgs args{logits, pool.integers({2}, {1499, 7}, DType::int64), -100,
                              pool.poisoned(DType::float32, {2})};
  cross_entropy(exec, args);
  const SoftmaxArgs log_softmax{logits, true, pool.poisoned(DType::float32, {2, 1500})};
  softmax(exec, log_softmax);
  const float* const losses = args.losses.data<float>();
  CHECK(losses[0] == doctest::Approx(-log_softmax.out.data<float>()[1499]).epsilon(1e-6));
  CHECK(losses[1] == doctest::Approx(-log_softmax.out.data<float>()[1507]).epsilon(1e-6));
}

TEST_CASE("cross_entropy takes the shifted slices of one sequence, whatever the batch") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  const Tensor logits = pool.uniform(DType::bfloat16, {2, 4, 30}, -5, 5);
  const Tensor labels = pool.integers({2, 4}, {1, 2, 29, 0, 5, -100, 7, 8}, DType::int64);
  const CrossEntropyArgs both{logits.slice(1, 0, 3), labels.slice(1, 1, 4), -100,
                              pool.poisoned(DType::float32, {2, 3})};
  cross_entropy(exec, both);
  CHECK(both.losses.data<float>()[3] == 0.0f);
  for (std::int64_t b = 0; b < 2; ++b) {
    const CrossEntropyArgs one{logits.select(0, b).slice(0, 0, 3), labels.select(0, b).slice(0, 1, 4), -100,
                               pool.poisoned(DType::float32, {3})};
    cross_entropy(exec, one);
    CHECK(test::same_bits(one.losses, both.losses.select(0, b)));
  }
}

TEST_CASE("cross_entropy stays accurate for large logits and certain labels") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  const CrossEntropyArgs args{pool.floats({1e4f, 1e4f - 20.0f, -1e4f}).reshape({1, 3}),
                              pool.integers({1}, {0}, DType::int64), -100,
                              pool.poisoned(DType::float32, {1})};
  std::int64_t* const label = args.labels.data<std::int64_t>();
  const float* const loss = args.losses.data<float>();
  cross_entropy(exec, args);
  CHECK(std::fabs(loss[0] - std::exp(-20.0f)) <= 1.2e-7f);
  label[0] = 2;
  cross_entropy(exec, args);
  CHECK(loss[0] == 2e4f);
}

TEST_CASE("cross_entropy names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const CrossEntropyArgs good{pool.uniform(DType::float32, {2, 9}, -1, 1),
                              pool.integers({2}, {8, -100}, DType::int64), -100,
                              pool.poisoned(DType::float32, {2})};
  CrossEntropyArgs bad = good;
  if (test::checks_values()) {
    bad.labels = pool.integers({2}, {0, 9}, DType::int64);
    CHECK_THROWS_WITH(cross_entropy(exec, bad),
                      "cross_entropy: labels holds 9 at (1), but must hold values from 0 to 8, or -100");
  }
  bad.labels = pool.integers({2}, {0, 1});
  CHECK_THROWS_WITH(cross_entropy(exec, bad), "cross_entropy: labels is int32, but must be int64");
  bad = good;
  bad.losses = pool.poisoned(DType::float32, {2, 9});
  CHECK_THROWS_WITH(cross_entropy(exec, bad), "cross_entropy: losses has shape (2, 9), but must have (2)");
}
