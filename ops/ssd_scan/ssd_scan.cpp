#include "ophis/ops/ssd_scan.hpp"

#include "ops/common/check.hpp"
#include "ops/common/dense.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

/// The axes of a sequence's state.
struct StateSizes {
  std::int64_t nheads, headdim, dstate;
};

/// Checks all that the scan and the update have in common. `positions`: the axes of x before its heads.
template <class Args>
StateSizes check_common(const ArgumentChecker& check, const Args& args, int positions) {
  check.given("x", args.x);
  check.given("dt", args.dt);
  check.given("A", args.A);
  check.given("B", args.B);
  check.given("C", args.C);
  check.given("out", args.out);
  check.rank("x", args.x, positions + 2);
  check.rank("B", args.B, positions + 2);
  check.compute_dtype("x", args.x);
  const Dims& shape = args.x.shape();
  const std::int64_t nheads = args.x.extent(-2), headdim = args.x.extent(-1);
  const std::int64_t ngroups = args.B.extent(-2), dstate = args.B.extent(-1);
  OPHIS_REQUIRE(ngroups >= 1 && nheads % ngroups == 0, check.op(), ": B has ", ngroups,
                " groups, which must divide the ", nheads, " heads");
  const DType dtype = args.x.dtype();
  const auto behind_position = [&](std::initializer_list<std::int64_t> axes) {
    Dims result(std::span(shape.begin(), shape.begin() + positions));
    for (const std::int64_t extent : axes) result.push_back(extent);
    return result;
  };
  check.activation("x", args.x, shape, dtype);
  check.activation("dt", args.dt, behind_position({nheads}), dtype);
  check.activation("B", args.B, behind_position({ngroups, dstate}), dtype);
  check.activation("C", args.C, behind_position({ngroups, dstate}), dtype);
  check.parameter("A", args.A, {nheads});
  check.parameter("D", args.D, args.D.rank() == 2 ? Dims{nheads, headdim} : Dims{nheads});
  check.parameter("dt_bias", args.dt_bias, {nheads});
  check.activation("z", args.z, shape, dtype);
  check.activation("out", args.out, shape, dtype);
  OPHIS_REQUIRE(args.dt_min <= args.dt_max, check.op(), ": dt_min is ", args.dt_min, " and dt_max ",
                args.dt_max, ", but dt_min must not be above dt_max");
  return {nheads, headdim, dstate};
}

}  // namespace

void ssd_scan(ExecContext& exec, const SsdScanArgs& args) {
  const ArgumentChecker check("ssd_scan", exec);
  const auto [nheads, headdim, dstate] = check_common(check, args, 2);
  const std::int64_t batch = args.x.extent(0), seqlen = args.x.extent(1);
  OPHIS_REQUIRE(args.chunk_size >= 1, "ssd_scan: chunk_size is ", args.chunk_size,
                ", but must be at least 1");
  OPHIS_REQUIRE(!(args.seq_idx && args.cu_seqlens), "ssd_scan: seq_idx and cu_seqlens exclude each other");
  const std::int64_t nseq = check.sequences(args.cu_seqlens, batch, seqlen);
  const Dims states{nseq, nheads, headdim, dstate};
  check.state("initial_states", args.initial_states, states, args.x.dtype());
  check.seq_idx(args.seq_idx, batch, seqlen);
  check.state("final_states", args.final_states, states, args.x.dtype());
  with_float32_states(exec, args, [&](const SsdScanArgs& with_float32) {
    dispatch("ssd_scan", ssd_scan_impls(), exec, with_float32);
  });
}

void ssd_state_update(ExecContext& exec, const SsdStateUpdateArgs& args) {
  const ArgumentChecker check("ssd_state_update", exec);
  const auto [nheads, headdim, dstate] = check_common(check, args, 1);
  check.given("state", args.state);
  check.state("state", args.state, {args.x.extent(0), nheads, headdim, dstate}, args.x.dtype());
  dispatch("ssd_state_update", ssd_state_update_impls(), exec, args);
}

}  // namespace ophis
