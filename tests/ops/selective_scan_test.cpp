#include "ophis/ops/selective_scan.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

SelectiveScanArgs make_args(TensorPool& pool, DType dtype, std::int64_t batch, std::int64_t seqlen,
                            std::int64_t dim, std::int64_t dstate = 16) {
  SelectiveScanArgs args;
  args.u = pool.uniform(dtype, {batch, seqlen, dim}, -1, 1);
  args.delta = pool.uniform(dtype, {batch, seqlen, dim}, -3, 1);
  args.A = pool.uniform(DType::float32, {dim, dstate}, -4, -1);
  args.B = pool.uniform(dtype, {batch, seqlen, 1, dstate}, -1, 1);
  args.C = pool.uniform(dtype, {batch, seqlen, 1, dstate}, -1, 1);
  args.D = pool.uniform(DType::float32, {dim}, -1, 1);
  args.z = pool.uniform(dtype, {batch, seqlen, dim}, -2, 2);
  args.delta_bias = pool.uniform(DType::float32, {dim}, -1, 1);
  args.delta_softplus = true;
  args.out = pool.poisoned(dtype, {batch, seqlen, dim});
  args.final_states = pool.poisoned(DType::float32, {batch, dim, dstate});
  return args;
}

/// The arguments of the step at position l of a scan, on a state of its own.
SelectiveStateUpdateArgs step_of(const SelectiveScanArgs& scan, std::int64_t l, const Tensor& state) {
  SelectiveStateUpdateArgs step;
  step.state = state;
  step.x = scan.u.select(1, l);
  step.dt = scan.delta.select(1, l);
  step.A = scan.A;
  step.B = scan.B.select(1, l);
  step.C = scan.C.select(1, l);
  step.D = scan.D;
  step.z = scan.z.select(1, l);
  step.dt_bias = scan.delta_bias;
  step.dt_softplus = scan.delta_softplus;
  step.out = scan.out.select(1, l);
  return step;
}

/// Positions [begin, end) of a scan, written to the same positions of `out`.
SelectiveScanArgs piece_of(const SelectiveScanArgs& scan, std::int64_t begin, std::int64_t end,
                           const Tensor& out) {
  SelectiveScanArgs piece = scan;
  piece.u = scan.u.slice(1, begin, end);
  piece.delta = scan.delta.slice(1, begin, end);
  piece.B = scan.B.slice(1, begin, end);
  piece.C = scan.C.slice(1, begin, end);
  piece.z = scan.z.slice(1, begin, end);
  piece.out = out.slice(1, begin, end);
  return piece;
}

/// Row b of a scan alone, with outputs of its own.
SelectiveScanArgs row_of(TensorPool& pool, const SelectiveScanArgs& scan, std::int64_t b) {
  SelectiveScanArgs row = scan;
  for (Tensor SelectiveScanArgs::*member :
       {&SelectiveScanArgs::u, &SelectiveScanArgs::delta, &SelectiveScanArgs::B, &SelectiveScanArgs::C,
        &SelectiveScanArgs::z}) {
    row.*member = (scan.*member).slice(0, b, b + 1);
  }
  row.out = pool.poisoned(scan.out.dtype(), {1, scan.out.extent(1), scan.out.extent(2)});
  row.final_states =
      pool.poisoned(DType::float32, {1, scan.final_states.extent(1), scan.final_states.extent(2)});
  return row;
}

}  // namespace

TEST_CASE("selective_scan equals its reference") {
  test::require_parity("selective_scan");
  test::require_parity("selective_state_update");
}

TEST_CASE("selective_scan in pieces and steps with the state carried over equals the whole") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const SelectiveScanArgs whole = make_args(pool, DType::float32, 2, 150, 19);
  selective_scan(exec, whole);

  const Tensor out = pool.poisoned(DType::float32, whole.u.shape());
  const Tensor state = pool.uniform(DType::float32, {2, 19, 16}, 0, 0);
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 3}, {3, 100}, {100, 100}, {100, 148}}) {
    SelectiveScanArgs piece = piece_of(whole, begin, end, out);
    piece.initial_states = piece.final_states = state;
    selective_scan(exec, piece);
  }
  CHECK(test::same_bits(out.slice(1, 0, 148), whole.out.slice(1, 0, 148)));
  for (std::int64_t l = 148; l < 150; ++l) {
    SelectiveStateUpdateArgs step = step_of(whole, l, state);
    step.out = out.select(1, l);
    selective_state_update(exec, step);
  }
  CHECK(parity::worst_ratio(out, pool.as_float64(whole.out), 16.0) <= 1.0);
  CHECK(parity::worst_ratio(state, pool.as_float64(whole.final_states), 4.0) <= 1.0);
}

TEST_CASE("selective_scan gives a row the same bits alone, in a batch, packed and again") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  const SelectiveScanArgs batch = make_args(pool, DType::bfloat16, 4, 90, 21);
  selective_scan(exec, batch);

  const SelectiveScanArgs alone = row_of(pool, batch, 2);
  selective_scan(exec, alone);
  CHECK(test::same_bits(alone.out, batch.out.slice(0, 2, 3)));
  CHECK(test::same_bits(alone.final_states, batch.final_states.slice(0, 2, 3)));

  SelectiveScanArgs packed = batch;
  packed.u = batch.u.reshape({1, 360, 21});
  packed.delta = batch.delta.reshape({1, 360, 21});
  packed.B = batch.B.reshape({1, 360, 1, 16});
  packed.C = batch.C.reshape({1, 360, 1, 16});
  packed.z = batch.z.reshape({1, 360, 21});
  packed.out = pool.poisoned(DType::bfloat16, {1, 360, 21});
  packed.final_states = pool.poisoned(DType::float32, {4, 21, 16});
  packed.cu_seqlens = pool.integers({5}, {0, 90, 180, 270, 360});
  selective_scan(exec, packed);
  CHECK(test::same_bits(packed.out.reshape({4, 90, 21}), batch.out));
  CHECK(test::same_bits(packed.final_states, batch.final_states));
}

TEST_CASE("selective_state_update gives a row the same bits alone and in a batch") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const SelectiveScanArgs scan = make_args(pool, DType::float16, 3, 1, 40, 24);
  const Tensor state = pool.uniform(DType::float32, {3, 40, 24}, -1, 1);
  const Tensor lone_state = pool.clone(state).slice(0, 1, 2);
  selective_state_update(exec, step_of(scan, 0, state));
  const SelectiveScanArgs row = row_of(pool, scan, 1);
  selective_state_update(exec, step_of(row, 0, lone_state));
  CHECK(test::same_bits(row.out, scan.out.slice(0, 1, 2)));
  CHECK(test::same_bits(lone_state, state.slice(0, 1, 2)));
}

TEST_CASE("selective_scan may write out over an input") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  const SelectiveScanArgs apart = make_args(pool, DType::float32, 2, 100, 21);
  selective_scan(exec, apart);
  for (Tensor SelectiveScanArgs::*input :
       {&SelectiveScanArgs::u, &SelectiveScanArgs::delta, &SelectiveScanArgs::z}) {
    SelectiveScanArgs over = apart;
    over.*input = over.out = pool.clone(apart.*input);
    selective_scan(exec, over);
    CHECK(test::same_bits(over.out, apart.out));
  }
}

TEST_CASE("selective_scan of no positions hands the states on") {
  ExecContext exec(test::device());
  TensorPool pool(5);
  SelectiveScanArgs args = make_args(pool, DType::float32, 2, 0, 21);
  selective_scan(exec, args);
  CHECK(test::same_bits(args.final_states, pool.uniform(DType::float32, {2, 21, 16}, 0, 0)));
  args.initial_states = pool.uniform(DType::float32, {2, 21, 16}, -1, 1);
  selective_scan(exec, args);
  CHECK(test::same_bits(args.final_states, args.initial_states));
}

TEST_CASE("selective_scan takes and gives states of the activations' dtype") {
  ExecContext exec(test::device());
  TensorPool pool(6);
  SelectiveScanArgs args = make_args(pool, DType::bfloat16, 2, 30, 21);
  const Tensor states = pool.uniform(DType::bfloat16, {2, 21, 16}, -1, 1);
  args.initial_states = pool.widened(states);
  selective_scan(exec, args);
  SelectiveScanArgs narrow = args;
  narrow.out = pool.poisoned(DType::bfloat16, args.out.shape());
  narrow.initial_states = narrow.final_states = states;
  selective_scan(exec, narrow);
  CHECK(test::same_bits(narrow.out, args.out));
  CHECK(parity::worst_ratio(states, pool.as_float64(args.final_states), 0.0) <= 0.51);
}

TEST_CASE("selective_scan takes decays that overflow or vanish") {
  ExecContext exec(test::device());
  TensorPool pool(6);
  SelectiveScanArgs args = make_args(pool, DType::float32, 1, 3, 17);
  args.A = pool.uniform(DType::float32, {17, 16}, -1e30, -1e29);
  selective_scan(exec, args);
  for (std::int64_t i = 0; i < args.out.count(); ++i) CHECK(std::isfinite(args.out.data<float>()[i]));
  args.A = pool.uniform(DType::float32, {17, 16}, 1e29, 1e30);
  args.initial_states = pool.uniform(DType::float32, {1, 17, 16}, 0.5, 1);  // 0 would give 0 * infinity
  selective_scan(exec, args);
  for (std::int64_t i = 0; i < args.final_states.count(); ++i) {
    CHECK(std::isinf(args.final_states.data<float>()[i]));
  }
}

TEST_CASE("selective_scan names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(7);
  const SelectiveScanArgs good = make_args(pool, DType::float32, 2, 8, 6);
  SelectiveScanArgs bad = good;
  bad.delta = pool.uniform(DType::float32, {2, 7, 6}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad),
                    "selective_scan: delta has shape (2, 7, 6), but must have (2, 8, 6)");
  bad = good;
  bad.B = Tensor();
  CHECK_THROWS_WITH(selective_scan(exec, bad), "selective_scan: B must be given");
  bad = good;
  bad.B = pool.uniform(DType::float32, {2, 8, 16}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad),
                    "selective_scan: B is float32 (2, 8, 16), but must have 4 axes, or 2 if it is constant");
  bad = good;
  bad.C = pool.uniform(DType::float32, {2, 8, 4, 16}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad),
                    "selective_scan: C has 4 groups, but their number must divide dim = 6");
  bad = good;
  bad.C = pool.uniform(DType::bfloat16, {2, 8, 1, 16}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad), "selective_scan: C is bfloat16, but must be float32");
  bad = good;
  bad.C = pool.uniform(DType::float32, {6, 8}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad), "selective_scan: C has shape (6, 8), but must have (6, 16)");
  bad = good;
  bad.A = pool.uniform(DType::float32, {6, 0}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad), "selective_scan: A has dstate 0, but must have at least 1");
  bad = good;
  bad.initial_states = pool.uniform(DType::bfloat16, {2, 6, 16}, -1, 1);
  CHECK_THROWS_WITH(selective_scan(exec, bad),
                    "selective_scan: initial_states is bfloat16, but must be float32");
  bad = good;
  bad.cu_seqlens = pool.integers({3}, {0, 5, 8});
  CHECK_THROWS_WITH(selective_scan(exec, bad), "selective_scan: with cu_seqlens the batch must be 1, got 2");

  const Tensor state = pool.uniform(DType::float32, {2, 6, 16}, -1, 1);
  SelectiveStateUpdateArgs step = step_of(good, 0, state);
  step.state = pool.uniform(DType::float32, {2, 6, 8}, -1, 1);
  CHECK_THROWS_WITH(selective_state_update(exec, step),
                    "selective_state_update: state has shape (2, 6, 8), but must have (2, 6, 16)");
  step = step_of(good, 0, state);
  step.state = Tensor();
  CHECK_THROWS_WITH(selective_state_update(exec, step), "selective_state_update: state must be given");
}
