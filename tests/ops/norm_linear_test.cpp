#include "ophis/ops/norm_linear.hpp"

#include "ops/norm_linear/norm_linear_impl.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

NormLinearArgs make_args(TensorPool& pool, DType dtype) {
  NormLinearArgs args;
  args.x = pool.uniform(DType::float32, {3, 64}, -1, 1);
  args.norm_weight = pool.uniform(DType::float32, {64}, 0, 2);
  args.weight = pool.uniform(dtype, {40, 64}, -1, 1);
  args.conv_state = pool.uniform(dtype, {3, 24, 3}, -1, 1);
  args.conv_weight = pool.uniform(DType::float32, {24, 4}, -1, 1);
  args.conv_begin = 8;
  args.out = pool.poisoned(dtype, {3, 40});
  return args;
}

}  // namespace

TEST_CASE("norm_linear equals its reference") { test::require_parity("norm_linear"); }

TEST_CASE("norm_linear gives a row the same bits alone") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const NormLinearArgs batch = make_args(pool, DType::bfloat16);
  NormLinearArgs alone = batch;
  alone.x = batch.x.slice(0, 1, 2);
  alone.conv_state = pool.clone(batch.conv_state.slice(0, 1, 2));
  alone.out = pool.poisoned(DType::bfloat16, {1, 40});
  norm_linear(exec, batch);
  norm_linear(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 1, 2)));
  CHECK(test::same_bits(alone.conv_state, batch.conv_state.slice(0, 1, 2)));
}

TEST_CASE("norm_linear of no rows or no outputs does nothing") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const NormLinearArgs some = make_args(pool, DType::float32);
  NormLinearArgs none = some;
  for (Tensor NormLinearArgs::*tensor :
       {&NormLinearArgs::x, &NormLinearArgs::conv_state, &NormLinearArgs::out}) {
    none.*tensor = (some.*tensor).slice(0, 0, 0);
  }
  norm_linear(exec, none);

  NormLinearArgs blind = some;
  blind.weight = some.weight.slice(0, 0, 0);
  blind.conv_state = blind.conv_weight = Tensor();
  blind.conv_begin = 0;
  blind.out = pool.poisoned(DType::float32, {3, 0});
  norm_linear(exec, blind);
}

TEST_CASE("norm_linear names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  const NormLinearArgs good = make_args(pool, DType::float32);
  NormLinearArgs bad = good;
  bad.weight = pool.uniform(DType::float32, {40, 63}, -1, 1);
  CHECK_THROWS_WITH(norm_linear(exec, bad), "norm_linear: weight has shape (40, 63), but must have (40, 64)");
  bad = good;
  bad.conv_begin = 17;
  CHECK_THROWS_WITH(norm_linear(exec, bad),
                    "norm_linear: the convolution takes outputs 17 to 41, but there are 40");
  bad = good;
  bad.conv_state = Tensor();
  CHECK_THROWS_WITH(norm_linear(exec, bad),
                    "norm_linear: there is a conv_weight or conv_bias, but no conv_state");
  bad = good;
  bad.conv_state = pool.uniform(DType::float32, {3, 24, 2}, -1, 1);
  CHECK_THROWS_WITH(norm_linear(exec, bad),
                    "norm_linear: conv_state is float32 (3, 24, 2), but conv_weight float32 (24, 4) needs at "
                    "least 3 inputs");
  bad = good;
  bad.accumulate = true;
  CHECK_THROWS_WITH(norm_linear(exec, bad), "norm_linear: a convolution cannot be added to what out holds");
  bad = good;
  bad.x = pool.uniform(DType::bfloat16, {3, 64}, -1, 1);
  CHECK_THROWS_WITH(norm_linear(exec, bad), "norm_linear: x is bfloat16, but must be float32");
}
