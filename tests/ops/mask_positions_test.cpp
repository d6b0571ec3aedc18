#include "ophis/ops/mask_positions.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;

TEST_CASE("mask_positions equals its reference") { test::require_parity("mask_positions"); }

TEST_CASE("mask_positions names what is wrong with its arguments") {
  ExecContext exec(test::device());
  test::TensorPool pool(1);
  const Tensor x = pool.uniform(DType::float32, {2, 3, 4}, -1, 1);
  CHECK_THROWS_WITH(mask_positions(exec, {x, pool.integers({2, 2}, {1, 1, 1, 1}), x}),
                    "mask_positions: mask has shape (2, 2), but must have (2, 3)");
  CHECK_THROWS_WITH(mask_positions(exec, {x, x.select(2, 0), x}),
                    "mask_positions: mask is float32, but must be int64");
}
