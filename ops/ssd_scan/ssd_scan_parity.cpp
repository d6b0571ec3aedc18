#include <cmath>

#include "ops/parity/problem.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor SsdScanArgs::*> tensors_of() {
  return {&SsdScanArgs::x,           &SsdScanArgs::dt,         &SsdScanArgs::A,
          &SsdScanArgs::B,           &SsdScanArgs::C,          &SsdScanArgs::D,
          &SsdScanArgs::z,           &SsdScanArgs::dt_bias,    &SsdScanArgs::initial_states,
          &SsdScanArgs::seq_idx,     &SsdScanArgs::cu_seqlens, &SsdScanArgs::out,
          &SsdScanArgs::final_states};
}

template <>
std::vector<Tensor SsdStateUpdateArgs::*> tensors_of() {
  return {&SsdStateUpdateArgs::state, &SsdStateUpdateArgs::x, &SsdStateUpdateArgs::dt,
          &SsdStateUpdateArgs::A,     &SsdStateUpdateArgs::B, &SsdStateUpdateArgs::C,
          &SsdStateUpdateArgs::D,     &SsdStateUpdateArgs::z, &SsdStateUpdateArgs::dt_bias,
          &SsdStateUpdateArgs::out};
}

namespace {

/// Which of the optional arguments a case gives.
struct Options {
  bool D = false, D_by_element = false, z = false, bias = false, limits = false;
  bool states = false, seq_idx = false, varlen = false;
  bool slices = false;          // x, B and C are slices of wider tensors; z and dt are transposed
  bool aligned_slices = false;  // x, B, C and z are, and lie at multiples of 16 bytes
};

struct Case {
  const char* name;
  std::int64_t batch, seqlen, nheads, headdim, ngroups, dstate, chunk_size;
  Options options;
};

const Case cases[] = {
    {"one position", 2, 1, 2, 16, 1, 16, 256, {.D = true, .bias = true, .states = true}},
    {"seqlen 63, two groups", 1, 63, 4, 40, 2, 24, 64, {.D_by_element = true, .z = true, .bias = true}},
    {"seqlen 64, slices", 2, 64, 2, 32, 1, 17, 256, {.z = true, .states = true, .slices = true}},
    {"seqlen 65, limits", 1, 65, 3, 5, 3, 12, 16, {.D = true, .limits = true, .states = true}},
    {"seqlen 1000", 1, 1000, 1, 17, 1, 32, 256, {.D = true, .z = true, .bias = true}},
    {"seqlen 37, chunk_size 1", 2, 37, 2, 8, 1, 16, 1, {.bias = true, .states = true}},
    {"seqlen 37, chunk_size 5", 2, 37, 2, 8, 1, 16, 5, {.D = true, .states = true}},
    {"mamba2 head", 1, 130, 1, 64, 1, 128, 256, {.D = true, .z = true, .bias = true, .states = true}},
    {"model slices",
     2,
     70,
     4,
     64,
     2,
     128,
     256,
     {.D_by_element = true, .z = true, .bias = true, .states = true, .aligned_slices = true}},
    {"dstate 64", 2, 66, 3, 64, 1, 64, 256, {.D = true, .bias = true, .aligned_slices = true}},
    {"one aligned position", 2, 1, 3, 64, 1, 128, 256, {.D = true, .bias = true, .states = true}},
    {"seqlen 300", 1, 300, 1, 64, 1, 128, 256, {.z = true, .bias = true, .states = true}},
    {"headdim 128",
     1,
     70,
     2,
     128,
     1,
     64,
     256,
     {.D = true, .z = true, .states = true, .aligned_slices = true}},
    {"seq_idx", 2, 200, 2, 20, 1, 16, 64, {.D = true, .states = true, .seq_idx = true, .slices = true}},
    {"cu_seqlens", 1, 230, 4, 20, 2, 16, 64, {.z = true, .bias = true, .states = true, .varlen = true}},
};

const Layout slice{{}, 7}, aligned_slice{{}, 8};

/// Ten for dt, its exponential, the products and the gate; then a state is the sum of up to seqlen terms and
/// an output that of dstate terms more, whose roundings are independent and add up as their square root.
struct Roundings {
  double state, out;
  Roundings(std::int64_t seqlen, std::int64_t dstate)
      : state(10.0 + std::sqrt(static_cast<double>(seqlen))),
        out(10.0 + std::sqrt(static_cast<double>(seqlen + dstate))) {}
};

Problem<SsdScanArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  const Options& with = c.options;
  SsdScanArgs args;
  std::int64_t nseq = c.batch;
  if (with.varlen) {
    const auto end = static_cast<std::int32_t>(c.seqlen);
    args.cu_seqlens = pool.integers({6}, {0, 1, 1, 20, end / 2, end});
    nseq = 5;
  }
  const Layout layout = with.slices ? slice : with.aligned_slices ? aligned_slice : Layout{};
  const Layout transposed = with.slices ? Layout{{0, 2, 3, 1}, 3} : layout;
  const Dims inner{c.batch, c.seqlen, c.nheads, c.headdim};
  const Dims states{nseq, c.nheads, c.headdim, c.dstate};
  args.x = pool.uniform(dtype, inner, -1, 1, layout);
  args.dt = pool.uniform(dtype, {c.batch, c.seqlen, c.nheads}, -3, 0.5,
                         with.slices ? Layout{{0, 2, 1}, 1} : Layout{});
  args.dt_softplus = !with.limits;
  if (with.limits) {
    args.dt_min = 0.05;
    args.dt_max = 0.3;
  }
  args.A = pool.uniform(DType::float32, {c.nheads}, -8, -0.1);
  args.B = pool.uniform(dtype, {c.batch, c.seqlen, c.ngroups, c.dstate}, -1, 1, layout);
  args.C = pool.uniform(dtype, {c.batch, c.seqlen, c.ngroups, c.dstate}, -1, 1, transposed);
  if (with.D) args.D = pool.uniform(DType::float32, {c.nheads}, -1, 1);
  if (with.D_by_element) args.D = pool.uniform(dtype, {c.nheads, c.headdim}, -1, 1, slice);
  if (with.z) args.z = pool.uniform(dtype, inner, -2, 2, transposed);
  if (with.bias) args.dt_bias = pool.uniform(DType::float32, {c.nheads}, -1, 1);
  if (with.states) args.initial_states = pool.uniform(DType::float32, states, -1, 1, layout);
  if (with.seq_idx) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(c.batch * c.seqlen));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int32_t>(i % static_cast<std::size_t>(c.seqlen)) / 37;
    }
    args.seq_idx = pool.integers({c.batch, c.seqlen}, values);
  }
  args.chunk_size = c.chunk_size;
  args.out = pool.poisoned(dtype, inner, layout);
  args.final_states = pool.poisoned(DType::float32, states);
  const Roundings roundings(c.seqlen, c.dstate);
  return {c.name,
          args,
          {{"out", &SsdScanArgs::out, roundings.out},
           {"final_states", &SsdScanArgs::final_states, roundings.state}}};
}

Problem<SsdStateUpdateArgs> make_update_problem(TensorPool& pool, DType dtype, std::int64_t headdim,
                                                std::int64_t dstate, DType state_dtype, const Options& with) {
  const std::int64_t batch = 3, nheads = 4, ngroups = 2;
  const Layout layout = with.slices ? slice : with.aligned_slices ? aligned_slice : Layout{};
  SsdStateUpdateArgs args;
  args.state = pool.uniform(state_dtype, {batch, nheads, headdim, dstate}, -1, 1,
                            with.slices ? Layout{{0, 1, 3, 2}, 1} : Layout{});
  args.x = pool.uniform(dtype, {batch, nheads, headdim}, -1, 1, layout);
  args.dt = pool.uniform(dtype, {batch, nheads}, -3, 0.5, layout);
  args.dt_softplus = !with.limits;
  if (with.limits) {
    args.dt_min = 0.05;
    args.dt_max = 0.3;
  }
  args.A = pool.uniform(DType::float32, {nheads}, -8, -0.1);
  args.B = pool.uniform(dtype, {batch, ngroups, dstate}, -1, 1, layout);
  args.C =
      pool.uniform(dtype, {batch, ngroups, dstate}, -1, 1, with.slices ? Layout{{0, 2, 1}, 2} : Layout{});
  if (with.D) args.D = pool.uniform(DType::float32, {nheads}, -1, 1);
  if (with.D_by_element) args.D = pool.uniform(dtype, {nheads, headdim}, -1, 1, slice);
  if (with.z) args.z = pool.uniform(dtype, {batch, nheads, headdim}, -2, 2, layout);
  if (with.bias) args.dt_bias = pool.uniform(DType::float32, {nheads}, -1, 1);
  args.out = pool.poisoned(dtype, {batch, nheads, headdim}, layout);
  const Roundings roundings(1, dstate);
  return {detail::concat("headdim ", headdim, ", dstate ", dstate, with.slices ? ", slices" : ""),
          args,
          {{"out", &SsdStateUpdateArgs::out, roundings.out},
           {"state", &SsdStateUpdateArgs::state, roundings.state, true}}};
}

}  // namespace

std::vector<Problem<SsdScanArgs>> ssd_scan_problems(TensorPool& pool, DType dtype) {
  std::vector<Problem<SsdScanArgs>> problems;
  for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
  return problems;
}

void check_ssd_scan(ExecContext& exec, const Report& report) {
  check_op("ssd_scan", exec, ssd_scan_impls(), ssd_scan_reference, ssd_scan, ssd_scan_problems, report);
}

void check_ssd_state_update(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<SsdStateUpdateArgs>> problems;
    const auto add = [&](std::int64_t headdim, std::int64_t dstate, DType state, const Options& with) {
      problems.push_back(make_update_problem(pool, dtype, headdim, dstate, state, with));
    };
    for (const DType state : {DType::float32, dtype}) {
      add(64, 128, state, {.D = true, .z = true, .bias = true});
      add(19, 16, state, {.D_by_element = true, .limits = true});
      add(5, 37, state, {.z = true, .slices = true});
    }
    add(1, 1, DType::float32, {.bias = true});
    return problems;
  };
  check_op("ssd_state_update", exec, ssd_state_update_impls(), ssd_state_update_reference, ssd_state_update,
           make_problems, report);
}

}  // namespace ophis::parity
