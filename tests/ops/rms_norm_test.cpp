#include "ophis/ops/rms_norm.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

RmsNormArgs make_args(TensorPool& pool, DType dtype, const Dims& shape) {
  RmsNormArgs args;
  args.x = pool.uniform(dtype, shape, -1, 1);
  args.weight = pool.uniform(DType::float32, {args.x.extent(-1)}, 0, 2);
  args.out = pool.poisoned(dtype, shape);
  return args;
}

}  // namespace

TEST_CASE("rms_norm equals its reference") { test::require_parity("rms_norm"); }

TEST_CASE("rms_norm gives a row of mean square one") {
  ExecContext exec(test::device());
  TensorPool pool(0);
  RmsNormArgs args;
  args.x = pool.floats({3.0f, -4.0f, 0.0f, 0.0f});
  args.eps = 0.0;
  args.out = pool.poisoned(DType::float32, {4});
  rms_norm(exec, args);  // the root of the mean square is 2.5
  const float* const out = args.out.data<float>();
  CHECK(out[0] == doctest::Approx(1.2f));
  CHECK(out[1] == doctest::Approx(-1.6f));
  CHECK(out[2] == 0.0f);
}

TEST_CASE("rms_norm works in place: out on x, residual_out on residual") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  for (const DType residual_dtype : {DType::bfloat16, DType::float32}) {
    RmsNormArgs apart = make_args(pool, DType::bfloat16, {3, 77});
    apart.residual = pool.uniform(residual_dtype, {3, 77}, -9, 9);
    apart.residual_out = pool.poisoned(residual_dtype, {3, 77});
    apart.z = pool.uniform(DType::bfloat16, {3, 77}, -2, 2);
    RmsNormArgs in_place = apart;
    in_place.x = in_place.out = pool.clone(apart.x);
    in_place.residual = in_place.residual_out = pool.clone(apart.residual);
    rms_norm(exec, apart);
    rms_norm(exec, in_place);
    CHECK(test::same_bits(in_place.out, apart.out));
    CHECK(test::same_bits(in_place.residual_out, apart.residual_out));
  }
}

TEST_CASE("rms_norm writes residual_out without a residual too") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  RmsNormArgs args = make_args(pool, DType::bfloat16, {2, 33});
  args.residual_out = pool.poisoned(DType::float32, {2, 33});
  rms_norm(exec, args);
  CHECK(test::same_bits(args.residual_out, args.x));
}

TEST_CASE("rms_norm gives a row the same bits alone, in a batch and in another layout") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const RmsNormArgs batch = make_args(pool, DType::float32, {7, 100});
  rms_norm(exec, batch);
  RmsNormArgs alone = batch;
  alone.x = batch.x.slice(0, 3, 4);
  alone.out = pool.poisoned(DType::float32, {1, 100}, {{}, 9});
  rms_norm(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 3, 4)));
}

TEST_CASE("rms_norm over groups equals the norm of each group") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  RmsNormArgs groups = make_args(pool, DType::float32, {2, 60});
  groups.weight = Tensor();
  groups.group_size = 20;
  rms_norm(exec, groups);
  RmsNormArgs rows = groups;
  rows.group_size = 0;
  rows.x = groups.x.reshape({2, 3, 20});
  rows.out = pool.poisoned(DType::float32, {2, 3, 20});
  rms_norm(exec, rows);
  CHECK(test::same_bits(rows.out.reshape({2, 60}), groups.out));
}

TEST_CASE("rms_norm names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(5);
  const RmsNormArgs good = make_args(pool, DType::bfloat16, {2, 12});
  RmsNormArgs bad = good;
  bad.x = Tensor();
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: x must be given");
  bad = good;
  bad.weight = pool.uniform(DType::float32, {11}, 0, 1);
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: weight has shape (11), but must have (12)");
  bad = good;
  bad.residual = pool.uniform(DType::float16, {2, 12}, 0, 1);
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: residual is float16, but must be bfloat16 or float32");
  bad = good;
  bad.out = pool.poisoned(DType::float16, {2, 12});
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: x is bfloat16, but must be float16 or float32");
  bad = good;
  bad.group_size = 5;
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: group_size is 5, but must divide the row of 12");
  bad = good;
  bad.eps = -1.0;
  CHECK_THROWS_WITH(rms_norm(exec, bad), "rms_norm: eps is -1, but must be a finite number of at least 0");
  bad = good;
  bad.x = bad.out = pool.poisoned(DType::bfloat16, {2, 0});
  CHECK_THROWS_WITH(rms_norm(exec, bad),
                    "rms_norm: x is bfloat16 (2, 0), but must have rows of at least one element");
}
