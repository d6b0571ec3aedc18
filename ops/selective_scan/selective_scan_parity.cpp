#include <algorithm>
#include <cmath>

#include "ops/parity/problem.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor SelectiveScanArgs::*> tensors_of() {
  return {&SelectiveScanArgs::u,          &SelectiveScanArgs::delta,      &SelectiveScanArgs::A,
          &SelectiveScanArgs::B,          &SelectiveScanArgs::C,          &SelectiveScanArgs::D,
          &SelectiveScanArgs::z,          &SelectiveScanArgs::delta_bias, &SelectiveScanArgs::initial_states,
          &SelectiveScanArgs::cu_seqlens, &SelectiveScanArgs::out,        &SelectiveScanArgs::final_states};
}

template <>
std::vector<Tensor SelectiveStateUpdateArgs::*> tensors_of() {
  return {
      &SelectiveStateUpdateArgs::state,     &SelectiveStateUpdateArgs::x,  &SelectiveStateUpdateArgs::dt,
      &SelectiveStateUpdateArgs::A,         &SelectiveStateUpdateArgs::B,  &SelectiveStateUpdateArgs::C,
      &SelectiveStateUpdateArgs::D,         &SelectiveStateUpdateArgs::z,  &SelectiveStateUpdateArgs::dt_bias,
      &SelectiveStateUpdateArgs::dt_weight, &SelectiveStateUpdateArgs::out};
}

namespace {

const Layout channels_last_slice{{0, 1, 2}, 5};
const Layout channels_first{{0, 2, 1}, 0};
const Layout channels_first_slice{{0, 2, 1}, 3};
const Layout coefficients_time_last{{0, 2, 3, 1}, 0};

struct Case {
  const char* name;
  std::int64_t batch, seqlen, dim, dstate;
  std::int64_t groups_B, groups_C;  // 0: constant
  Layout layout, coefficient_layout;
  bool softplus, D, z, states, varlen;
};

const Case cases[] = {
    {"one position", 2, 1, 5, 16, 1, 1, {}, {}, true, true, true, true, false},
    {"no options", 2, 40, 12, 16, 1, 1, {}, {}, false, false, false, false, false},
    {"seqlen 63, dstate 5", 2, 63, 40, 5, 1, 1, {}, {}, true, true, true, false, false},
    {"seqlen 64, slices", 1, 64, 37, 16, 1, 1, channels_last_slice, {{}, 7}, true, true, true, true, false},
    {"seqlen 65, dstate 1", 1, 65, 16, 1, 1, 1, {}, {}, true, false, true, true, false},
    {"seqlen 1000, dstate 16", 1, 1000, 35, 16, 1, 1, {}, {}, true, true, true, true, false},
    {"seqlen 1000, channels first", 2, 1000, 9, 16, 1, 1, channels_first, coefficients_time_last, true, true,
     true, false, false},
    {"seqlen 131, channels first slice", 2, 131, 19, 8, 1, 1, channels_first_slice, coefficients_time_last,
     false, true, true, true, false},
    {"dstate 67", 2, 70, 18, 67, 1, 1, {}, {}, true, true, false, true, false},
    {"3 groups of 6 channels", 2, 65, 18, 16, 3, 3, {}, {}, true, true, true, true, false},
    {"2 groups of 20 channels", 1, 65, 40, 16, 2, 2, {}, {}, true, true, true, true, false},
    {"4 groups of B, 6 of C", 2, 30, 24, 7, 4, 6, {}, {}, true, true, true, true, false},
    {"a group a channel", 2, 30, 7, 4, 7, 7, {}, {}, true, true, true, true, false},
    {"constant B and C", 2, 65, 21, 16, 0, 0, {}, {}, true, true, true, true, false},
    {"constant B", 2, 65, 21, 5, 0, 1, {}, {}, true, true, true, true, false},
    {"constant C", 2, 65, 40, 9, 2, 0, {}, {}, true, true, true, true, false},
    {"cu_seqlens", 1, 300, 33, 16, 1, 1, {}, {}, true, true, true, true, true},
    {"cu_seqlens, channels first", 1, 300, 5, 6, 1, 1, channels_first, coefficients_time_last, true, true,
     false, true, true},
    // Sizes and strides of whole 16-byte units, over several blocks of channels.
    {"264 channels, seqlen 77",
     2,
     77,
     264,
     16,
     1,
     1,
     {{0, 1, 2}, 8},
     {{}, 16},
     true,
     true,
     true,
     true,
     false},
    {"40 channels, no options", 3, 130, 40, 16, 1, 1, {}, {}, false, false, false, false, false},
    {"2 groups of 128 channels", 1, 40, 256, 16, 2, 1, {}, {}, true, true, true, true, false},
    {"64 channels, dstate 32", 1, 70, 64, 32, 1, 1, {}, {}, true, true, true, true, false},
    {"64 channels, dstate 64", 1, 70, 64, 64, 1, 1, {}, {}, true, true, true, true, false},
    {"64 channels, dstate 128", 1, 70, 64, 128, 1, 1, {}, {}, true, true, true, true, false},
    {"64 channels, cu_seqlens", 1, 300, 64, 16, 1, 1, {}, {}, true, true, true, true, true},
    // As in models, and enough of them to fill a GPU.
    {"1536 channels", 1, 70, 1536, 16, 1, 1, {}, {{}, 48}, true, true, true, true, false},
    {"1536 channels, batch 12", 12, 5, 1536, 16, 1, 1, {}, {{}, 48}, true, true, true, true, false},
    {"4096 channels", 1, 35, 4096, 16, 1, 1, {}, {{}, 128}, true, true, true, true, false},
    {"4096 channels, batch 8", 8, 5, 4096, 16, 1, 1, {}, {{}, 128}, true, true, true, true, false},
    {"72 channels first, seqlen 136", 2, 136, 72, 16, 1, 1, channels_first, coefficients_time_last, true,
     true, true, true, false},
};

// The ranges of A and of the step size below keep step * |A| above 1/33 (up to bfloat16's rounding of A), so
// that no rounding error is felt for more than about this many steps.
constexpr std::int64_t memory = 34;

/// A step adds about 2 roundings to the state (of the decay and of the sum), which are felt for `memory`
/// steps. Independent roundings add up as the root of their number. The step size is good to 6 ulp.
double state_roundings(std::int64_t seqlen) {
  return 2.0 * std::sqrt(static_cast<double>(std::min(seqlen, memory))) + 6.0;
}

/// And those of the sum over the states, and 4 ulp of the gate.
double out_roundings(std::int64_t seqlen, std::int64_t dstate) {
  return state_roundings(seqlen) + std::sqrt(static_cast<double>(dstate)) + 4.0;
}

Tensor make_A(TensorPool& pool, DType dtype, std::int64_t dim, std::int64_t dstate) {
  return pool.uniform(dtype, {dim, dstate}, -4, -1.1);
}

Tensor make_delta(TensorPool& pool, DType dtype, const Dims& shape, bool softplus,
                  const Layout& layout = {}) {
  return softplus ? pool.uniform(dtype, shape, -3, 1, layout) : pool.uniform(dtype, shape, 0.03, 0.6, layout);
}

Tensor make_delta_bias(TensorPool& pool, DType dtype, std::int64_t dim, bool softplus) {
  return softplus ? pool.uniform(dtype, {dim}, -0.5, 0.5) : pool.uniform(dtype, {dim}, 0, 0.1);
}

/// `shape` is that of a B or C per step.
Tensor make_coefficient(TensorPool& pool, DType dtype, const Dims& shape, std::int64_t groups,
                        std::int64_t dim, const Layout& layout) {
  if (groups > 0) return pool.uniform(dtype, shape, -1, 1, layout);
  return pool.uniform(DType::float32, {dim, shape[shape.size() - 1]}, -1, 1, {{1, 0}, 2});
}

Problem<SelectiveScanArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  SelectiveScanArgs args;
  const Dims shape{c.batch, c.seqlen, c.dim};
  std::int64_t nseq = c.batch;
  if (c.varlen) {
    const auto end = static_cast<std::int32_t>(c.seqlen);
    args.cu_seqlens = pool.integers({6}, {0, 1, 1, 3, end / 2, end});
    nseq = 5;
  }
  args.u = pool.uniform(dtype, shape, -1, 1, c.layout);
  args.delta = make_delta(pool, dtype, shape, c.softplus, c.layout);
  args.A = make_A(pool, c.z ? DType::float32 : dtype, c.dim, c.dstate);
  args.B = make_coefficient(pool, dtype, {c.batch, c.seqlen, c.groups_B, c.dstate}, c.groups_B, c.dim,
                            c.coefficient_layout);
  args.C = make_coefficient(pool, dtype, {c.batch, c.seqlen, c.groups_C, c.dstate}, c.groups_C, c.dim,
                            c.coefficient_layout);
  if (c.D) args.D = pool.uniform(dtype, {c.dim}, -1, 1);
  if (c.z) args.z = pool.uniform(dtype, shape, -2, 2, c.layout);
  if (c.D) args.delta_bias = make_delta_bias(pool, DType::float32, c.dim, c.softplus);
  args.delta_softplus = c.softplus;
  const Dims state_shape{nseq, c.dim, c.dstate};
  if (c.states) args.initial_states = pool.uniform(DType::float32, state_shape, -1, 1, {{0, 2, 1}, 1});
  args.out = pool.poisoned(dtype, shape, c.layout);
  if (c.states) args.final_states = pool.poisoned(DType::float32, state_shape, {{}, 2});
  return {c.name,
          args,
          {{"out", &SelectiveScanArgs::out, out_roundings(c.seqlen, c.dstate)},
           {"final_states", &SelectiveScanArgs::final_states, state_roundings(c.seqlen)}}};
}

struct UpdateCase {
  const char* name;
  std::int64_t batch, dim, dstate, groups_B, groups_C;
  Layout layout, state_layout;
  bool options;  // softplus, bias, D, z
  Layout C_layout = {{2, 0, 1}, 1};
  bool state_like_x = false;  // of the activations' dtype, else float32
  std::int64_t dt_rank = 0;   // of dt_weight; 0: none
};

const UpdateCase update_cases[] = {
    {"one channel, one state", 1, 1, 1, 1, 1, {}, {}, true},
    {"dstate 16", 3, 37, 16, 1, 1, {}, {}, true},
    {"no options", 3, 37, 16, 1, 1, {}, {}, false},
    {"slices, dstate 67", 2, 35, 67, 1, 1, {{}, 3}, {{}, 5}, true},
    {"state dense in channels", 2, 37, 16, 1, 1, {}, {{0, 2, 1}, 0}, true},
    {"strided state and activations", 2, 21, 5, 1, 1, {{1, 0}, 1}, {{1, 2, 0}, 1}, true},
    {"3 groups of 6 channels", 2, 18, 9, 3, 3, {}, {}, true},
    {"3 groups, state dense in channels", 2, 18, 9, 3, 3, {}, {{0, 2, 1}, 0}, true},
    {"4 groups of B, 6 of C, state dense in channels", 2, 24, 9, 4, 6, {}, {{0, 2, 1}, 3}, true},
    {"264 channels of 16 states", 3, 264, 16, 1, 1, {}, {}, true, {}},
    {"64 states, 3 groups", 2, 24, 64, 3, 3, {}, {}, true, {}},
    {"264 channels, dt_rank 24", 3, 264, 16, 1, 1, {}, {}, true, {}, false, 24},
    {"37 channels, dt_rank 5, slices", 2, 37, 16, 1, 1, {{}, 3}, {{}, 5}, true, {}, false, 5},
    {"264 channels, state like x", 3, 264, 16, 1, 1, {}, {}, true, {}, true},
    {"state like x, dense in channels", 2, 37, 16, 1, 1, {}, {{0, 2, 1}, 0}, true, {}, true},
    {"constant B and C", 2, 21, 16, 0, 0, {}, {}, true},
    {"constant B, state dense in channels", 2, 21, 16, 0, 1, {}, {{0, 2, 1}, 0}, true},
};

Problem<SelectiveStateUpdateArgs> make_update_problem(TensorPool& pool, DType dtype, const UpdateCase& c) {
  SelectiveStateUpdateArgs args;
  const Dims shape{c.batch, c.dim};
  args.state = pool.uniform(c.state_like_x ? dtype : DType::float32, {c.batch, c.dim, c.dstate}, -1, 1,
                            c.state_layout);
  args.x = pool.uniform(dtype, shape, -1, 1, c.layout);
  args.dt = make_delta(pool, dtype, shape, c.options, c.layout);
  if (c.dt_rank > 0) {
    args.dt = pool.uniform(dtype, {c.batch, c.dt_rank}, -1, 1, c.layout);
    args.dt_weight = pool.uniform(dtype, {c.dim, c.dt_rank}, -1, 1, c.layout);
  }
  args.A = make_A(pool, c.options ? DType::float32 : dtype, c.dim, c.dstate);
  args.B = make_coefficient(pool, dtype, {c.batch, c.groups_B, c.dstate}, c.groups_B, c.dim, {});
  args.C = make_coefficient(pool, dtype, {c.batch, c.groups_C, c.dstate}, c.groups_C, c.dim, c.C_layout);
  args.out = pool.poisoned(dtype, shape, c.layout);
  if (c.options) {
    args.D = pool.uniform(dtype, {c.dim}, -1, 1);
    args.z = pool.uniform(dtype, shape, -2, 2, c.layout);
    args.dt_bias = make_delta_bias(pool, dtype, c.dim, true);
    args.dt_softplus = true;
  }
  return {c.name,
          args,
          {{"out", &SelectiveStateUpdateArgs::out, out_roundings(1, c.dstate)},
           {"state", &SelectiveStateUpdateArgs::state, state_roundings(1), true}},
          c.dt_rank > 0};
}

}  // namespace

std::vector<Problem<SelectiveScanArgs>> selective_scan_problems(TensorPool& pool, DType dtype) {
  std::vector<Problem<SelectiveScanArgs>> problems;
  for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
  return problems;
}

void check_selective_scan(ExecContext& exec, const Report& report) {
  check_op("selective_scan", exec, selective_scan_impls(), selective_scan_reference, selective_scan,
           selective_scan_problems, report);
}

void check_selective_state_update(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<SelectiveStateUpdateArgs>> problems;
    for (const UpdateCase& c : update_cases) problems.push_back(make_update_problem(pool, dtype, c));
    return problems;
  };
  check_op("selective_state_update", exec, selective_state_update_impls(), selective_state_update_reference,
           selective_state_update, make_problems, report);
}

}  // namespace ophis::parity
