#include "ophis/ops/causal_conv1d.hpp"

#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/common/check.hpp"

namespace ophis {

void causal_conv1d(ExecContext& exec, const CausalConv1dArgs& args) {
  const ArgumentChecker check("causal_conv1d", exec);
  check.given("x", args.x);
  check.given("weight", args.weight);
  check.given("out", args.out);
  check.rank("x", args.x, 3);
  check.rank("weight", args.weight, 2);
  check.compute_dtype("x", args.x);
  const std::int64_t batch = args.x.extent(0), seqlen = args.x.extent(1), dim = args.x.extent(2);
  const std::int64_t width = args.weight.extent(1);
  const DType dtype = args.x.dtype();
  OPHIS_REQUIRE(width >= 1, "causal_conv1d: weight has width 0, but must have at least 1");
  OPHIS_REQUIRE(!(args.seq_idx && args.cu_seqlens),
                "causal_conv1d: seq_idx and cu_seqlens exclude each other");
  const std::int64_t nseq = check.sequences(args.cu_seqlens, batch, seqlen);
  check.activation("x", args.x, args.x.shape(), dtype);
  check.parameter("weight", args.weight, {dim, width});
  check.parameter("bias", args.bias, {dim});
  check.activation("initial_states", args.initial_states, {nseq, dim, width - 1}, dtype);
  check.seq_idx(args.seq_idx, batch, seqlen);
  check.activation("out", args.out, {batch, seqlen, dim}, dtype);
  check.activation("final_states", args.final_states, {nseq, dim, width - 1}, dtype);
  dispatch("causal_conv1d", causal_conv1d_impls(), exec, args);
}

void causal_conv1d_update(ExecContext& exec, const CausalConv1dUpdateArgs& args) {
  const ArgumentChecker check("causal_conv1d_update", exec);
  check.given("x", args.x);
  check.given("conv_state", args.conv_state);
  check.given("weight", args.weight);
  check.given("out", args.out);
  check.rank("x", args.x, 2);
  check.rank("conv_state", args.conv_state, 3);
  check.rank("weight", args.weight, 2);
  check.compute_dtype("x", args.x);
  const std::int64_t batch = args.x.extent(0), dim = args.x.extent(1);
  const std::int64_t width = args.weight.extent(1), state_len = args.conv_state.extent(2);
  const DType dtype = args.x.dtype();
  OPHIS_REQUIRE(width >= 1 && state_len >= width - 1, "causal_conv1d_update: conv_state holds ", state_len,
                " inputs, but a weight of width ", width, " needs at least ", width - 1);
  check.activation("x", args.x, args.x.shape(), dtype);
  check.activation("conv_state", args.conv_state, {batch, dim, state_len}, dtype);
  check.parameter("weight", args.weight, {dim, width});
  check.parameter("bias", args.bias, {dim});
  check.activation("out", args.out, {batch, dim}, dtype);
  dispatch("causal_conv1d_update", causal_conv1d_update_impls(), exec, args);
}

}  // namespace ophis
