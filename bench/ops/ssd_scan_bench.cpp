#include <cmath>

#include "bench/ops/cases.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis::bench {
namespace {

// mamba2-130m
constexpr std::int64_t headdim = 64, dstate = 128;

struct Shape {
  std::int64_t batch, seqlen, nheads, ngroups = 1;
};

double state_roundings(std::int64_t terms) { return 10.0 + std::sqrt(static_cast<double>(terms)); }

Configuration<SsdScanArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const Dims inner{s.batch, s.seqlen, s.nheads, headdim};
  SsdScanArgs args;
  args.x = pool.uniform(dtype, inner, -1, 1);
  args.dt = pool.uniform(dtype, {s.batch, s.seqlen, s.nheads}, -3, 0.5);
  args.A = pool.uniform(DType::float32, {s.nheads}, -8, -0.1);
  args.B = pool.uniform(dtype, {s.batch, s.seqlen, s.ngroups, dstate}, -1, 1);
  args.C = pool.uniform(dtype, {s.batch, s.seqlen, s.ngroups, dstate}, -1, 1);
  args.D = pool.uniform(DType::float32, {s.nheads}, -1, 1);
  args.dt_bias = pool.uniform(DType::float32, {s.nheads}, -1, 1);
  args.dt_softplus = true;
  args.out = pool.poisoned(dtype, inner);
  args.final_states = pool.poisoned(DType::float32, {s.batch, s.nheads, headdim, dstate});
  // Of the recurrence: per element of the state decay, input and output, multiplied and added.
  const double flops = 5.0 * static_cast<double>(args.x.count() * dstate);
  return {
      args,
      {{"out", &SsdScanArgs::out, state_roundings(s.seqlen + dstate)},
       {"final_states", &SsdScanArgs::final_states, state_roundings(s.seqlen)}},
      bytes_of({args.x, args.dt, args.A, args.B, args.C, args.D, args.dt_bias, args.out, args.final_states}),
      flops};
}

Configuration<SsdStateUpdateArgs> make_update(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const Dims inner{s.batch, s.nheads, headdim};
  SsdStateUpdateArgs args;
  args.state = pool.uniform(DType::float32, {s.batch, s.nheads, headdim, dstate}, -1, 1);
  args.x = pool.uniform(dtype, inner, -1, 1);
  args.dt = pool.uniform(dtype, {s.batch, s.nheads}, -3, 0.5);
  args.A = pool.uniform(DType::float32, {s.nheads}, -8, -0.1);
  args.B = pool.uniform(dtype, {s.batch, 1, dstate}, -1, 1);
  args.C = pool.uniform(dtype, {s.batch, 1, dstate}, -1, 1);
  args.D = pool.uniform(DType::float32, {s.nheads}, -1, 1);
  args.dt_bias = pool.uniform(DType::float32, {s.nheads}, -1, 1);
  args.dt_softplus = true;
  args.out = pool.poisoned(dtype, inner);
  return {args,
          {{"out", &SsdStateUpdateArgs::out, state_roundings(1 + dstate)},
           {"state", &SsdStateUpdateArgs::state, state_roundings(1), true}},
          bytes_of({args.state, args.state, args.x, args.dt, args.A, args.B, args.C, args.D, args.dt_bias,
                    args.out}),
          5.0 * static_cast<double>(args.state.count())};
}

}  // namespace

Cases ssd_scan_cases() {
  const Op<SsdScanArgs> scan{"ssd_scan", ssd_scan_impls, ssd_scan_reference, ssd_scan};
  const Op<SsdStateUpdateArgs> update{"ssd_state_update", ssd_state_update_impls, ssd_state_update_reference,
                                      ssd_state_update};
  Cases cases;
  const auto add_scan = [&](const Shape& s, Worth worth) {
    add_case(cases, scan,
             detail::concat("batch ", s.batch, ", seqlen ", s.seqlen, ", nheads ", s.nheads, ", headdim ",
                            headdim, ", dstate ", dstate, ", ngroups ", s.ngroups),
             make, s, Shape{1, 300, s.ngroups, s.ngroups}, worth);
  };
  add_scan({1, 1024, 24}, Worth::everywhere);
  for (const Shape& s : {Shape{8, 2048, 80}, Shape{1, 2048, 80}, Shape{1, 32768, 80}, Shape{1, 131072, 80},
                         Shape{8, 2048, 128, 8}}) {
    add_scan(s, Worth::on_gpus);
  }
  const auto add_update = [&](const Shape& s, Worth worth) {
    add_case(
        cases, update,
        detail::concat("batch ", s.batch, ", nheads ", s.nheads, ", headdim ", headdim, ", dstate ", dstate),
        make_update, s, Shape{1, 1, s.nheads}, worth);
  };
  for (const std::int64_t batch : {1, 16}) add_update({batch, 1, 24}, Worth::everywhere);
  for (const std::int64_t batch : {1, 64, 256}) add_update({batch, 1, 80}, Worth::on_gpus);
  return cases;
}

}  // namespace ophis::bench
