#include "ophis/ops/ssd_scan.hpp"

#include "ops/ssd_scan/ssd_minimal.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

constexpr std::int64_t nheads = 4, headdim = 21, ngroups = 2, dstate = 16;

SsdScanArgs make_args(TensorPool& pool, DType dtype, std::int64_t batch, std::int64_t seqlen) {
  SsdScanArgs args;
  args.x = pool.uniform(dtype, {batch, seqlen, nheads, headdim}, -1, 1);
  args.dt = pool.uniform(dtype, {batch, seqlen, nheads}, -3, 0.5);
  args.A = pool.uniform(DType::float32, {nheads}, -8, -0.1);
  args.B = pool.uniform(dtype, {batch, seqlen, ngroups, dstate}, -1, 1);
  args.C = pool.uniform(dtype, {batch, seqlen, ngroups, dstate}, -1, 1);
  args.D = pool.uniform(DType::float32, {nheads, headdim}, -1, 1);
  args.z = pool.uniform(dtype, args.x.shape(), -2, 2);
  args.dt_bias = pool.uniform(DType::float32, {nheads}, -1, 1);
  args.dt_softplus = true;
  args.dt_max = 0.9;
  args.initial_states = pool.uniform(DType::float32, {batch, nheads, headdim, dstate}, -1, 1);
  args.out = pool.poisoned(dtype, args.x.shape());
  args.final_states = pool.poisoned(DType::float32, args.initial_states.shape());
  return args;
}

/// The l-th position of a scan as a step that works on `state`.
SsdStateUpdateArgs step_of(const SsdScanArgs& scan, std::int64_t l, const Tensor& state) {
  SsdStateUpdateArgs step;
  step.state = state;
  step.x = scan.x.select(1, l);
  step.dt = scan.dt.select(1, l);
  step.A = scan.A;
  step.B = scan.B.select(1, l);
  step.C = scan.C.select(1, l);
  step.D = scan.D;
  step.z = scan.z.select(1, l);
  step.dt_bias = scan.dt_bias;
  step.dt_softplus = scan.dt_softplus;
  step.dt_min = scan.dt_min;
  step.dt_max = scan.dt_max;
  step.out = scan.out.select(1, l);
  return step;
}

/// Positions [begin, end) of a scan.
SsdScanArgs piece_of(const SsdScanArgs& scan, std::int64_t begin, std::int64_t end) {
  SsdScanArgs piece = scan;
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::x, &SsdScanArgs::dt, &SsdScanArgs::B, &SsdScanArgs::C,
                                      &SsdScanArgs::z, &SsdScanArgs::out})
    if (scan.*tensor) piece.*tensor = (scan.*tensor).slice(1, begin, end);
  return piece;
}

/// Row b of a scan.
SsdScanArgs row_of(const SsdScanArgs& scan, std::int64_t b) {
  SsdScanArgs row = scan;
  for (Tensor SsdScanArgs::*tensor :
       {&SsdScanArgs::x, &SsdScanArgs::dt, &SsdScanArgs::B, &SsdScanArgs::C, &SsdScanArgs::z,
        &SsdScanArgs::out, &SsdScanArgs::initial_states, &SsdScanArgs::final_states})
    if (scan.*tensor) row.*tensor = (scan.*tensor).slice(0, b, b + 1);
  return row;
}

/// A scan that the kernels for tensor cores take.
SsdScanArgs make_tensor_core_args(TensorPool& pool, std::int64_t batch, std::int64_t seqlen,
                                  std::int64_t heads, std::int64_t groups) {
  const DType dtype = DType::bfloat16;
  SsdScanArgs args;
  args.x = pool.uniform(dtype, {batch, seqlen, heads, 64}, -1, 1);
  args.dt = pool.uniform(dtype, {batch, seqlen, heads}, -3, 0.5);
  args.dt_softplus = true;
  args.A = pool.uniform(DType::float32, {heads}, -8, -0.01);
  args.B = pool.uniform(dtype, {batch, seqlen, groups, 64}, -1, 1);
  args.C = pool.uniform(dtype, {batch, seqlen, groups, 64}, -1, 1);
  args.initial_states = pool.uniform(DType::float32, {batch, heads, 64, 64}, -1, 1);
  args.out = pool.poisoned(dtype, args.x.shape());
  args.final_states = pool.poisoned(DType::float32, args.initial_states.shape());
  return args;
}

/// Heads [begin, end), all of one group, of such a scan.
SsdScanArgs heads_of(const SsdScanArgs& scan, std::int64_t group, std::int64_t begin, std::int64_t end) {
  SsdScanArgs part = scan;
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::x, &SsdScanArgs::dt, &SsdScanArgs::out})
    part.*tensor = (scan.*tensor).slice(2, begin, end);
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::initial_states, &SsdScanArgs::final_states})
    part.*tensor = (scan.*tensor).slice(1, begin, end);
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::B, &SsdScanArgs::C})
    part.*tensor = (scan.*tensor).slice(2, group, group + 1);
  part.A = scan.A.slice(0, begin, end);
  return part;
}

void poison_outputs(TensorPool& pool, SsdScanArgs& args) {
  args.out = pool.poisoned(args.x.dtype(), args.x.shape());
  if (args.final_states) args.final_states = pool.poisoned(DType::float32, args.final_states.shape());
}

}  // namespace

TEST_CASE("ssd_scan equals its reference") {
  test::require_parity("ssd_scan");
  test::require_parity("ssd_state_update");
}

TEST_CASE("ssd_minimal, after discretize, equals the recurrence") {
  TensorPool pool(1);
  SsdScanArgs args;
  const Dims inner{2, 37, nheads, 5}, states{2, nheads, 5, 8};
  args.x = pool.uniform(DType::float64, inner, -1, 1);
  args.dt = pool.uniform(DType::float64, {2, 37, nheads}, 0.01, 0.5);
  args.A = pool.uniform(DType::float64, {nheads}, -8, -0.1);
  args.B = pool.uniform(DType::float64, {2, 37, ngroups, 8}, -1, 1);
  args.C = pool.uniform(DType::float64, {2, 37, ngroups, 8}, -1, 1);
  args.initial_states = pool.uniform(DType::float64, states, -1, 1);
  args.out = pool.poisoned(DType::float64, inner);
  args.final_states = pool.poisoned(DType::float64, states);
  ssd_scan_reference(args);

  SsdMinimalArgs minimal;
  minimal.X = pool.poisoned(DType::float64, inner);
  minimal.A = pool.poisoned(DType::float64, args.dt.shape());
  discretize(args.x, args.dt, args.A, minimal.X, minimal.A);
  minimal.B = args.B;
  minimal.C = args.C;
  minimal.initial_states = args.initial_states;
  for (const std::int64_t block_len : {1, 4, 8, 37, 64}) {
    CAPTURE(block_len);
    minimal.block_len = block_len;
    minimal.Y = pool.poisoned(DType::float64, inner);
    minimal.final_states = pool.poisoned(DType::float64, states);
    ssd_minimal(minimal);
    const double roundings = 1e-6;  // of float32: 1e-13
    CHECK(parity::worst_ratio(minimal.Y, args.out, roundings) <= 1.0);
    CHECK(parity::worst_ratio(minimal.final_states, args.final_states, roundings) <= 1.0);
  }
}

TEST_CASE("ssd_scan takes any chunk_size") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  SsdScanArgs args = make_args(pool, DType::float32, 2, 70);
  ssd_scan(exec, args);
  const Tensor want = pool.as_float64(args.out), want_states = pool.as_float64(args.final_states);
  for (const std::int64_t chunk_size : {1, 2, 7, 16, 17, 64, 100000}) {
    CAPTURE(chunk_size);
    args.chunk_size = chunk_size;
    poison_outputs(pool, args);
    ssd_scan(exec, args);
    CHECK(parity::worst_ratio(args.out, want, 16.0) <= 1.0);
    CHECK(parity::worst_ratio(args.final_states, want_states, 16.0) <= 1.0);
  }
}

TEST_CASE("ssd_scan in pieces with the state carried over, and steps, equal the whole") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  const SsdScanArgs whole = make_args(pool, DType::float32, 2, 90);
  ssd_scan(exec, whole);

  SsdScanArgs split = whole;
  split.out = pool.poisoned(DType::float32, whole.x.shape());
  const Tensor state = split.initial_states = split.final_states = pool.clone(whole.initial_states);
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 18}, {18, 18}, {18, 86}}) {
    ssd_scan(exec, piece_of(split, begin, end));
  }
  for (std::int64_t l = 86; l < 90; ++l) ssd_state_update(exec, step_of(split, l, state));
  CHECK(parity::worst_ratio(split.out, pool.as_float64(whole.out), 16.0) <= 1.0);
  CHECK(parity::worst_ratio(state, pool.as_float64(whole.final_states), 16.0) <= 1.0);
}

TEST_CASE("ssd_scan gives a row the same bits alone, in a batch, packed and again") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  const SsdScanArgs batch = make_args(pool, DType::bfloat16, 4, 45);
  ssd_scan(exec, batch);

  SsdScanArgs again = batch;
  poison_outputs(pool, again);
  for (std::int64_t b = 0; b < 4; ++b) ssd_scan(exec, row_of(again, b));
  CHECK(test::same_bits(again.out, batch.out));
  CHECK(test::same_bits(again.final_states, batch.final_states));

  SsdScanArgs packed = batch;
  poison_outputs(pool, packed);
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::x, &SsdScanArgs::z, &SsdScanArgs::out})
    packed.*tensor = (packed.*tensor).reshape({1, 180, nheads, headdim});
  for (Tensor SsdScanArgs::*tensor : {&SsdScanArgs::B, &SsdScanArgs::C})
    packed.*tensor = (packed.*tensor).reshape({1, 180, ngroups, dstate});
  packed.dt = packed.dt.reshape({1, 180, nheads});
  packed.cu_seqlens = pool.integers({5}, {0, 45, 90, 135, 180});
  ssd_scan(exec, packed);
  CHECK(test::same_bits(packed.out.reshape(batch.out.shape()), batch.out));
  CHECK(test::same_bits(packed.final_states, batch.final_states));

  // With seq_idx only the first sequence has an initial state.
  SsdScanArgs from_zero = batch;
  from_zero.initial_states = Tensor();
  poison_outputs(pool, from_zero);
  ssd_scan(exec, from_zero);
  SsdScanArgs marked = packed;
  marked.initial_states = marked.cu_seqlens = Tensor();
  std::vector<std::int32_t> owners;
  for (std::int32_t l = 0; l < 180; ++l) owners.push_back(l / 45);
  marked.seq_idx = pool.integers({1, 180}, owners);
  marked.out = pool.poisoned(DType::bfloat16, packed.x.shape());
  marked.final_states = pool.poisoned(DType::float32, {1, nheads, headdim, dstate});
  ssd_scan(exec, marked);
  CHECK(test::same_bits(marked.out.reshape(batch.out.shape()), from_zero.out));
  CHECK(test::same_bits(marked.final_states, from_zero.final_states.slice(0, 3, 4)));
}

TEST_CASE("ssd_scan takes and gives states of the activations' dtype") {
  ExecContext exec(test::device());
  TensorPool pool(8);
  SsdScanArgs args = make_args(pool, DType::bfloat16, 2, 30);
  const Tensor states = pool.uniform(DType::bfloat16, args.initial_states.shape(), -1, 1);
  args.initial_states = pool.widened(states);
  ssd_scan(exec, args);
  SsdScanArgs narrow = args;
  narrow.out = pool.poisoned(DType::bfloat16, args.out.shape());
  narrow.initial_states = narrow.final_states = states;
  ssd_scan(exec, narrow);
  CHECK(test::same_bits(narrow.out, args.out));
  CHECK(parity::worst_ratio(states, pool.as_float64(args.final_states), 0.0) <= 0.51);
}

TEST_CASE("ssd_scan is exact to rounding where decays are extreme") {
  ExecContext exec(test::device());
  TensorPool pool(5);
  SsdScanArgs args = make_args(pool, DType::float32, 1, 60);
  args.dt_softplus = false;
  args.dt_max = 40.0;
  args.dt_bias = Tensor();
  args.dt = pool.uniform(DType::float32, {1, 60, nheads}, 0, 1e-3);
  for (std::int64_t l = 5; l < 60; l += 11) {  // a position in which everything before is forgotten
    for (std::int64_t h = 0; h < nheads; ++h) args.dt.select(1, l).data<float>()[h] = 40.0f;
  }
  // exp(40 * -16) is zero in float32; the third head grows, the fourth keeps everything.
  const float rates[] = {-16.0f, -5.0f, 0.05f, 0.0f};
  std::copy(std::begin(rates), std::end(rates), args.A.data<float>());
  ssd_scan(exec, args);

  SsdScanArgs want = args;
  want.out = pool.poisoned(DType::float64, args.out.shape());
  want.final_states = pool.poisoned(DType::float64, args.final_states.shape());
  ssd_scan_reference(want);
  for (std::int64_t h = 0; h < nheads; ++h) {
    CAPTURE(h);
    CHECK(parity::worst_ratio(args.out.select(2, h), want.out.select(2, h), 16.0) <= 1.0);
    CHECK(parity::worst_ratio(args.final_states.select(1, h), want.final_states.select(1, h), 16.0) <= 1.0);
  }
}

TEST_CASE("ssd_scan gives heads the same bits alone and among more than a GPU works on at a time") {
  struct Shape {
    std::int64_t batch, seqlen, nheads, ngroups;
  };
  ExecContext exec(test::device());
  // With 132 multiprocessors: blocks that have whole sequences in turn, and blocks that hand a sequence on.
  for (const Shape& s : {Shape{3, 70, 165, 5}, {2, 200, 143, 1}}) {
    CAPTURE(s.nheads);
    TensorPool pool(9);
    const SsdScanArgs all = make_tensor_core_args(pool, s.batch, s.seqlen, s.nheads, s.ngroups);
    ssd_scan(exec, all);
    SsdScanArgs again = all;
    poison_outputs(pool, again);
    const std::int64_t group_heads = s.nheads / s.ngroups;
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t group = 0; group < s.ngroups; ++group) {
        const std::int64_t middle = group * group_heads + group_heads / 2, end = (group + 1) * group_heads;
        ssd_scan(exec, heads_of(row_of(again, b), group, group * group_heads, middle));
        ssd_scan(exec, heads_of(row_of(again, b), group, middle, end));
      }
    }
    CHECK(test::same_bits(again.out, all.out));
    CHECK(test::same_bits(again.final_states, all.final_states));
  }
}

TEST_CASE("ssd_scan of a sequence that a GPU cuts into segments equals that in pieces") {
  ExecContext exec(test::device());
  TensorPool pool(10);
  const SsdScanArgs whole = make_tensor_core_args(pool, 1, 8200, 3, 1);
  ssd_scan(exec, whole);
  SsdScanArgs pieces = whole;
  pieces.out = pool.poisoned(whole.out.dtype(), whole.out.shape());
  pieces.final_states = pieces.initial_states = pool.clone(whole.initial_states);
  ssd_scan(exec, piece_of(pieces, 0, 4000));
  ssd_scan(exec, piece_of(pieces, 4000, 8200));
  const DType operands = DType::bfloat16;
  CHECK(parity::worst_ratio(pieces.out, pool.as_float64(whole.out), 32.0, operands) <= 1.0);
  CHECK(parity::worst_ratio(pieces.final_states, pool.as_float64(whole.final_states), 32.0, operands) <= 1.0);
}

TEST_CASE("ssd_scan of no positions hands the state on") {
  ExecContext exec(test::device());
  TensorPool pool(6);
  const SsdScanArgs args = piece_of(make_args(pool, DType::float32, 2, 3), 1, 1);
  ssd_scan(exec, args);
  CHECK(test::same_bits(args.final_states, args.initial_states));
}

TEST_CASE("ssd_scan and ssd_state_update name what is wrong with their arguments") {
  ExecContext exec(test::device());
  TensorPool pool(7);
  const SsdScanArgs good = make_args(pool, DType::float32, 2, 8);
  SsdScanArgs bad = good;
  bad.B = bad.C = pool.uniform(DType::float32, {2, 8, 3, dstate}, -1, 1);
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: B has 3 groups, which must divide the 4 heads");
  bad = good;
  bad.C = pool.uniform(DType::float32, {2, 8, ngroups, 15}, -1, 1);
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: C has shape (2, 8, 2, 15), but must have (2, 8, 2, 16)");
  bad = good;
  bad.dt = pool.uniform(DType::bfloat16, {2, 8, nheads}, 0, 1);
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: dt is bfloat16, but must be float32");
  bad = good;
  bad.D = pool.uniform(DType::float32, {headdim}, 0, 1);
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: D has shape (21), but must have (4)");
  bad = good;
  bad.chunk_size = 0;
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: chunk_size is 0, but must be at least 1");
  bad = good;
  bad.dt_min = 1.0;
  CHECK_THROWS_WITH(ssd_scan(exec, bad),
                    "ssd_scan: dt_min is 1 and dt_max 0.9, but dt_min must not be above dt_max");
  bad = good;
  bad.initial_states = pool.uniform(DType::bfloat16, good.initial_states.shape(), 0, 1);
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: initial_states is bfloat16, but must be float32");
  bad = good;
  bad.seq_idx = pool.integers({2, 2}, {0, 0, 1, 1});
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: seq_idx has shape (2, 2), but must have (2, 8)");
  bad.cu_seqlens = pool.integers({2}, {0, 8});
  CHECK_THROWS_WITH(ssd_scan(exec, bad), "ssd_scan: seq_idx and cu_seqlens exclude each other");

  SsdStateUpdateArgs step = step_of(good, 0, good.initial_states);
  step.state = Tensor();
  CHECK_THROWS_WITH(ssd_state_update(exec, step), "ssd_state_update: state must be given");
  step.state = pool.uniform(DType::float32, {2, nheads, headdim, 15}, 0, 1);
  CHECK_THROWS_WITH(ssd_state_update(exec, step),
                    "ssd_state_update: state has shape (2, 4, 21, 15), but must have (2, 4, 21, 16)");
}
