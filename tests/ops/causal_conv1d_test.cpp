#include "ophis/ops/causal_conv1d.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

CausalConv1dArgs make_args(TensorPool& pool, DType dtype, std::int64_t batch, std::int64_t seqlen,
                           std::int64_t dim) {
  CausalConv1dArgs args;
  args.x = pool.uniform(dtype, {batch, seqlen, dim}, -1, 1);
  args.weight = pool.uniform(DType::float32, {dim, 4}, -1, 1);
  args.bias = pool.uniform(DType::float32, {dim}, -1, 1);
  args.activation = Activation::silu;
  args.out = pool.poisoned(dtype, {batch, seqlen, dim});
  return args;
}

}  // namespace

TEST_CASE("causal_conv1d equals its reference") {
  test::require_parity("causal_conv1d");
  test::require_parity("causal_conv1d_update");
}

TEST_CASE("causal_conv1d in pieces with the state carried over equals the whole") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const CausalConv1dArgs whole = make_args(pool, DType::float32, 2, 50, 19);
  causal_conv1d(exec, whole);

  CausalConv1dArgs piece = whole;
  const Tensor out = pool.poisoned(DType::float32, whole.x.shape());
  const Tensor state = pool.uniform(DType::float32, {2, 19, 3}, 0, 0);
  piece.initial_states = piece.final_states = state;
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 3}, {3, 40}, {40, 40}, {40, 49}}) {
    piece.x = whole.x.slice(1, begin, end);
    piece.out = out.slice(1, begin, end);
    causal_conv1d(exec, piece);
  }
  CausalConv1dUpdateArgs step;
  step.x = whole.x.select(1, 49);
  step.conv_state = state;
  step.weight = whole.weight;
  step.bias = whole.bias;
  step.activation = whole.activation;
  step.out = out.select(1, 49);
  causal_conv1d_update(exec, step);
  CHECK(parity::worst_ratio(out, pool.as_float64(whole.out), 4.0) <= 1.0);
}

TEST_CASE("causal_conv1d gives a row the same bits alone, in a batch, packed and again") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  const CausalConv1dArgs batch = make_args(pool, DType::bfloat16, 4, 90, 21);
  causal_conv1d(exec, batch);

  CausalConv1dArgs alone = batch;
  alone.x = batch.x.slice(0, 2, 3);
  alone.out = pool.poisoned(DType::bfloat16, {1, 90, 21});
  causal_conv1d(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 2, 3)));

  CausalConv1dArgs packed = batch;
  packed.x = batch.x.reshape({1, 360, 21});
  packed.out = pool.poisoned(DType::bfloat16, {1, 360, 21});
  packed.cu_seqlens = pool.integers({5}, {0, 90, 180, 270, 360});
  causal_conv1d(exec, packed);
  CHECK(test::same_bits(packed.out.reshape({4, 90, 21}), batch.out));
}

TEST_CASE("causal_conv1d names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const CausalConv1dArgs good = make_args(pool, DType::float32, 2, 8, 6);
  CausalConv1dArgs bad = good;
  bad.weight = pool.uniform(DType::float32, {5, 4}, -1, 1);
  CHECK_THROWS_WITH(causal_conv1d(exec, bad), "causal_conv1d: weight has shape (5, 4), but must have (6, 4)");
  bad = good;
  bad.out = Tensor();
  CHECK_THROWS_WITH(causal_conv1d(exec, bad), "causal_conv1d: out must be given");
  bad = good;
  bad.out = pool.poisoned(DType::bfloat16, {2, 8, 6});
  CHECK_THROWS_WITH(causal_conv1d(exec, bad), "causal_conv1d: out is bfloat16, but must be float32");
  bad = good;
  bad.cu_seqlens = pool.integers({3}, {0, 5, 8});
  CHECK_THROWS_WITH(causal_conv1d(exec, bad), "causal_conv1d: with cu_seqlens the batch must be 1, got 2");
  bad.x = good.x.slice(0, 0, 1);
  bad.out = good.out.slice(0, 0, 1);
  if (test::checks_values()) {
    bad.cu_seqlens = pool.integers({4}, {0, 5, 3, 8});
    CHECK_THROWS_WITH(causal_conv1d(exec, bad), "causal_conv1d: cu_seqlens falls from 5 to 3 at position 2");
  }
  const ScopedImplementation forced("causal_conv1d", "nonesuch");
  CHECK_THROWS_WITH(causal_conv1d(exec, good),
                    "causal_conv1d: implementation 'nonesuch' cannot run: there is no such implementation");
}
