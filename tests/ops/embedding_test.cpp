#include "ophis/ops/embedding.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

TEST_CASE("embedding equals its reference") { test::require_parity("embedding"); }

TEST_CASE("embedding gives the bits of the table") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  EmbeddingArgs args;
  args.ids = pool.integers({3}, {4, 0, 4}, DType::int64);
  args.weight = pool.uniform(DType::float16, {5, 21}, -1, 1);
  args.out = pool.poisoned(DType::float16, {3, 21});
  embedding(exec, args);
  CHECK(test::same_bits(args.out.select(0, 0), args.weight.select(0, 4)));
  CHECK(test::same_bits(args.out.select(0, 1), args.weight.select(0, 0)));
  CHECK(test::same_bits(args.out.select(0, 2), args.weight.select(0, 4)));
}

TEST_CASE("embedding names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  EmbeddingArgs good;
  good.ids = pool.integers({2, 2}, {4, 0, 4, 1}, DType::int64);
  good.weight = pool.uniform(DType::float32, {5, 6}, -1, 1);
  good.out = pool.poisoned(DType::float32, {2, 2, 6});
  EmbeddingArgs bad = good;
  if (test::checks_values()) {
    bad.ids = pool.integers({2, 2}, {4, 0, 5, 1}, DType::int64);
    CHECK_THROWS_WITH(embedding(exec, bad),
                      "embedding: ids holds 5 at (1, 0), but must hold values from 0 to 4");
    bad.ids = pool.integers({2, 2}, {4, -1, 3, 1});
    CHECK_THROWS_WITH(embedding(exec, bad),
                      "embedding: ids holds -1 at (0, 1), but must hold values from 0 to 4");
  }
  bad.ids = pool.uniform(DType::float32, {2, 2}, 0, 1);
  CHECK_THROWS_WITH(embedding(exec, bad), "embedding: ids is float32, but must be int32 or int64");
  bad = good;
  bad.out = pool.poisoned(DType::float32, {4, 6});
  CHECK_THROWS_WITH(embedding(exec, bad), "embedding: out has shape (4, 6), but must have (2, 2, 6)");
}
