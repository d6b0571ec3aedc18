#include "ophis/ops/selective_scan.hpp"

#include "ops/common/check.hpp"
#include "ops/common/dense.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"

namespace ophis {
namespace {

/// B or C: (positions..., ngroups, dstate) in the activations' dtype, or (dim, dstate) in any compute dtype.
void check_coefficient(const ArgumentChecker& check, const char* name, const Tensor& tensor, Dims positions,
                       std::int64_t dim, std::int64_t dstate, DType dtype) {
  check.given(name, tensor);
  if (tensor.rank() == 2) return check.parameter(name, tensor, {dim, dstate});
  OPHIS_REQUIRE(tensor.rank() == positions.size() + 2, check.op(), ": ", name, " is ", tensor,
                ", but must have ", positions.size() + 2, " axes, or 2 if it is constant");
  const std::int64_t ngroups = tensor.extent(-2);
  OPHIS_REQUIRE(ngroups >= 1 && dim % ngroups == 0, check.op(), ": ", name, " has ", ngroups,
                " groups, but their number must divide dim = ", dim);
  positions.push_back(ngroups);
  positions.push_back(dstate);
  check.activation(name, tensor, positions, dtype);
}

}  // namespace

void selective_scan(ExecContext& exec, const SelectiveScanArgs& args) {
  const ArgumentChecker check("selective_scan", exec);
  check.given("u", args.u);
  check.given("delta", args.delta);
  check.given("A", args.A);
  check.given("out", args.out);
  check.rank("u", args.u, 3);
  check.rank("A", args.A, 2);
  check.compute_dtype("u", args.u);
  const std::int64_t batch = args.u.extent(0), seqlen = args.u.extent(1), dim = args.u.extent(2);
  const std::int64_t dstate = args.A.extent(1);
  const DType dtype = args.u.dtype();
  OPHIS_REQUIRE(dstate >= 1, "selective_scan: A has dstate 0, but must have at least 1");
  const std::int64_t nseq = check.sequences(args.cu_seqlens, batch, seqlen);
  check.activation("u", args.u, args.u.shape(), dtype);
  check.activation("delta", args.delta, {batch, seqlen, dim}, dtype);
  check.parameter("A", args.A, {dim, dstate});
  check_coefficient(check, "B", args.B, {batch, seqlen}, dim, dstate, dtype);
  check_coefficient(check, "C", args.C, {batch, seqlen}, dim, dstate, dtype);
  check.parameter("D", args.D, {dim});
  check.activation("z", args.z, {batch, seqlen, dim}, dtype);
  check.parameter("delta_bias", args.delta_bias, {dim});
  check.state("initial_states", args.initial_states, {nseq, dim, dstate}, dtype);
  check.activation("out", args.out, {batch, seqlen, dim}, dtype);
  check.state("final_states", args.final_states, {nseq, dim, dstate}, dtype);
  with_float32_states(exec, args, [&](const SelectiveScanArgs& with_float32) {
    dispatch("selective_scan", selective_scan_impls(), exec, with_float32);
  });
}

void selective_state_update(ExecContext& exec, const SelectiveStateUpdateArgs& args) {
  const ArgumentChecker check("selective_state_update", exec);
  check.given("state", args.state);
  check.given("x", args.x);
  check.given("dt", args.dt);
  check.given("A", args.A);
  check.given("out", args.out);
  check.rank("x", args.x, 2);
  check.rank("A", args.A, 2);
  check.compute_dtype("x", args.x);
  const std::int64_t batch = args.x.extent(0), dim = args.x.extent(1), dstate = args.A.extent(1);
  const DType dtype = args.x.dtype();
  OPHIS_REQUIRE(dstate >= 1, "selective_state_update: A has dstate 0, but must have at least 1");
  check.state("state", args.state, {batch, dim, dstate}, dtype);
  check.activation("x", args.x, args.x.shape(), dtype);
  check.activation("dt", args.dt, {batch, dim}, dtype);
  check.parameter("A", args.A, {dim, dstate});
  check_coefficient(check, "B", args.B, {batch}, dim, dstate, dtype);
  check_coefficient(check, "C", args.C, {batch}, dim, dstate, dtype);
  check.parameter("D", args.D, {dim});
  check.activation("z", args.z, {batch, dim}, dtype);
  check.parameter("dt_bias", args.dt_bias, {dim});
  check.activation("out", args.out, {batch, dim}, dtype);
  dispatch("selective_state_update", selective_state_update_impls(), exec, args);
}

}  // namespace ophis
