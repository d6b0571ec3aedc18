#include <algorithm>

#include "bench/ops/cases.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"

namespace ophis::bench {
namespace {

// mamba-130m
constexpr std::int64_t dstate = 16;

struct Shape {
  std::int64_t batch, seqlen, dim;
};

// The inputs forget within 34 steps: a rounding error is felt for no longer (two a step), those of the step
// size, of the sum over the states and of the gate come on top.
constexpr double state_roundings = 18.0, out_roundings = 26.0;

// An element of the state takes an exp, three products and two sums.
constexpr double flops_an_element = 6.0;

Configuration<SelectiveScanArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const Dims shape{s.batch, s.seqlen, s.dim}, coefficients{s.batch, s.seqlen, 1, dstate};
  SelectiveScanArgs args;
  args.u = pool.uniform(dtype, shape, -1, 1);
  args.delta = pool.uniform(dtype, shape, -3, 1);
  args.A = pool.uniform(DType::float32, {s.dim, dstate}, -4, -1.1);
  args.B = pool.uniform(dtype, coefficients, -1, 1);
  args.C = pool.uniform(dtype, coefficients, -1, 1);
  args.D = pool.uniform(DType::float32, {s.dim}, -1, 1);
  args.z = pool.uniform(dtype, shape, -2, 2);
  args.delta_bias = pool.uniform(DType::float32, {s.dim}, -0.5, 0.5);
  args.delta_softplus = true;
  args.out = pool.poisoned(dtype, shape);
  args.final_states = pool.poisoned(DType::float32, {s.batch, s.dim, dstate});
  return {args,
          {{"out", &SelectiveScanArgs::out, out_roundings},
           {"final_states", &SelectiveScanArgs::final_states, state_roundings}},
          bytes_of({args.u, args.delta, args.A, args.B, args.C, args.D, args.z, args.delta_bias, args.out,
                    args.final_states}),
          flops_an_element * static_cast<double>(args.u.count() * dstate)};
}

Configuration<SelectiveStateUpdateArgs> make_update(parity::TensorPool& pool, DType dtype, const Shape& s) {
  SelectiveStateUpdateArgs args;
  args.state = pool.uniform(DType::float32, {s.batch, s.dim, dstate}, -1, 1);
  args.x = pool.uniform(dtype, {s.batch, s.dim}, -1, 1);
  args.dt = pool.uniform(dtype, {s.batch, s.dim}, -3, 1);
  args.A = pool.uniform(DType::float32, {s.dim, dstate}, -4, -1.1);
  args.B = pool.uniform(dtype, {s.batch, 1, dstate}, -1, 1);
  args.C = pool.uniform(dtype, {s.batch, 1, dstate}, -1, 1);
  args.D = pool.uniform(DType::float32, {s.dim}, -1, 1);
  args.z = pool.uniform(dtype, {s.batch, s.dim}, -2, 2);
  args.dt_bias = pool.uniform(DType::float32, {s.dim}, -0.5, 0.5);
  args.dt_softplus = true;
  args.out = pool.poisoned(dtype, {s.batch, s.dim});
  return {args,
          {{"out", &SelectiveStateUpdateArgs::out, out_roundings},
           {"state", &SelectiveStateUpdateArgs::state, state_roundings, true}},
          bytes_of({args.state, args.state, args.x, args.dt, args.A, args.B, args.C, args.D, args.z,
                    args.dt_bias, args.out}),
          flops_an_element * static_cast<double>(args.state.count())};
}

}  // namespace

Cases selective_scan_cases() {
  const Op<SelectiveScanArgs> scan{"selective_scan", selective_scan_impls, selective_scan_reference,
                                   selective_scan};
  const Op<SelectiveStateUpdateArgs> update{"selective_state_update", selective_state_update_impls,
                                            selective_state_update_reference, selective_state_update};
  Cases cases;
  const auto add_scan = [&](const Shape& s, Worth worth) {
    add_case(cases, scan,
             detail::concat("batch ", s.batch, ", seqlen ", s.seqlen, ", dim ", s.dim, ", dstate ", dstate),
             make, s, Shape{1, std::min<std::int64_t>(s.seqlen, 2048), 24}, worth);
  };
  add_scan({1, 1024, 1536}, Worth::everywhere);
  for (const Shape& s : {Shape{1, 2048, 1536}, Shape{8, 2048, 4096}, Shape{1, 32768, 4096}}) {
    add_scan(s, Worth::on_gpus);
  }
  for (const std::int64_t batch : {1, 16}) {
    add_case(cases, update, detail::concat("batch ", batch, ", dim 1536, dstate 16"), make_update,
             Shape{batch, 1, 1536}, Shape{1, 1, 1536});
  }
  return cases;
}

}  // namespace ophis::bench
