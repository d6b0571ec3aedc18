#include "ophis/ops/ssd_scan.hpp"

#include "ops/common/check.hpp"
#include "ops/common/dense.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

/// What the scan and the update have in common: A, D, dt_bias, the limits of dt, and the number of groups.
template <class Args>
void check_parameters(const ArgumentChecker& check, const Args& args, std::int64_t nheads,
                      std::int64_t headdim, std::int64_t ngroups) {
  OPHIS_REQUIRE(ngroups >= 1 && nheads % ngroups == 0, check.op(), ": B has ", ngroups,
                " groups, which must divide the ", nheads, " heads");
  check.parameter("A", args.A, {nheads});
  check.parameter("D", args.D, args.D.rank() == 2 ? Dims{nheads, headdim} : Dims{nheads});
  check.parameter("dt_bias", args.dt_bias, {nheads});
  OPHIS_REQUIRE(args.dt_min <= args.dt_max, check.op(), ": dt_min is ", args.dt_min, " and dt_max ",
                args.dt_max, ", but dt_min must not be above dt_max");
}

}  // namespace

void ssd_scan(ExecContext& exec, const SsdScanArgs& args) {
  const ArgumentChecker check("ssd_scan", exec);
  check.given("x", args.x);
  check.given("dt", args.dt);
  check.given("A", args.A);
  check.given("B", args.B);
  check.given("C", args.C);
  check.given("out", args.out);
  check.rank("x", args.x, 4);
  check.rank("B", args.B, 4);
  check.compute_dtype("x", args.x);
  const std::int64_t batch = args.x.extent(0), seqlen = args.x.extent(1);
  const std::int64_t nheads = args.x.extent(2), headdim = args.x.extent(3);
  const std::int64_t ngroups = args.B.extent(2), dstate = args.B.extent(3);
  const DType dtype = args.x.dtype();
  OPHIS_REQUIRE(args.chunk_size >= 1, "ssd_scan: chunk_size is ", args.chunk_size,
                ", but must be at least 1");
  OPHIS_REQUIRE(!(args.seq_idx && args.cu_seqlens), "ssd_scan: seq_idx and cu_seqlens exclude each other");
  const std::int64_t nseq = check.sequences(args.cu_seqlens, batch, seqlen);
  check.activation("x", args.x, args.x.shape(), dtype);
  check.activation("dt", args.dt, {batch, seqlen, nheads}, dtype);
  check.activation("B", args.B, {batch, seqlen, ngroups, dstate}, dtype);
  check.activation("C", args.C, {batch, seqlen, ngroups, dstate}, dtype);
  check_parameters(check, args, nheads, headdim, ngroups);
  check.activation("z", args.z, args.x.shape(), dtype);
  check.state("initial_states", args.initial_states, {nseq, nheads, headdim, dstate}, dtype);
  check.seq_idx(args.seq_idx, batch, seqlen);
  check.activation("out", args.out, args.x.shape(), dtype);
  check.state("final_states", args.final_states, {nseq, nheads, headdim, dstate}, dtype);
  with_float32_states(exec, args, [&](const SsdScanArgs& with_float32) {
    dispatch("ssd_scan", ssd_scan_impls(), exec, with_float32);
  });
}

void ssd_state_update(ExecContext& exec, const SsdStateUpdateArgs& args) {
  const ArgumentChecker check("ssd_state_update", exec);
  check.given("state", args.state);
  check.given("x", args.x);
  check.given("dt", args.dt);
  check.given("A", args.A);
  check.given("B", args.B);
  check.given("C", args.C);
  check.given("out", args.out);
  check.rank("x", args.x, 3);
  check.rank("B", args.B, 3);
  check.compute_dtype("x", args.x);
  const std::int64_t batch = args.x.extent(0), nheads = args.x.extent(1), headdim = args.x.extent(2);
  const std::int64_t ngroups = args.B.extent(1), dstate = args.B.extent(2);
  const DType dtype = args.x.dtype();
  check.state("state", args.state, {batch, nheads, headdim, dstate}, dtype);
  check.activation("x", args.x, args.x.shape(), dtype);
  check.activation("dt", args.dt, {batch, nheads}, dtype);
  check.activation("B", args.B, {batch, ngroups, dstate}, dtype);
  check.activation("C", args.C, {batch, ngroups, dstate}, dtype);
  check_parameters(check, args, nheads, headdim, ngroups);
  check.activation("z", args.z, args.x.shape(), dtype);
  check.activation("out", args.out, args.x.shape(), dtype);
  dispatch("ssd_state_update", ssd_state_update_impls(), exec, args);
}

}  // namespace ophis
