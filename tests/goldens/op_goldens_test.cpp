// The ops, and their references, against results computed elsewhere.
#include <nlohmann/json.hpp>

#include "models/src/json.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/parity/problem.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"
#include "tests/goldens/golden_files.hpp"

using namespace ophis;
using parity::TensorPool;
using test::find_tensor;

namespace {

/// Runs the reference and every implementation on `args`, whose outputs are made here, and compares with the
/// golden outputs: the reference to 1e-11, an implementation to float32's bound.
template <class Args>
void compare(TensorPool& pool, Args args, const std::vector<std::pair<Tensor Args::*, Tensor>>& outputs,
             double roundings, const char* op, std::span<const Implementation<Args>> impls,
             void (*reference)(const Args&), void (*run)(ExecContext&, const Args&)) {
  for (const auto& [member, want] : outputs) {
    if (want) args.*member = pool.poisoned(DType::float64, want.shape());
  }
  reference(args);
  for (const auto& [member, want] : outputs) {
    if (want) CHECK(test::largest_difference(args.*member, want) <= 1e-11);
  }
  ExecContext exec(test::device());
  for (const Implementation<Args>& impl : impls) {
    INFO(op << " by " << impl.name);
    for (const auto& [member, want] : outputs) {
      if (want) args.*member = pool.poisoned(DType::float32, want.shape());
    }
    if (impl.why_not(exec.device(), args)) continue;
    const ScopedImplementation forced(op, impl.name);
    Args there = args;
    for (Tensor Args::*const tensor : parity::tensors_of<Args>()) {
      if (there.*tensor) there.*tensor = pool.clone(exec, there.*tensor, exec.device());
    }
    run(exec, there);
    exec.fence();
    for (const auto& [member, want] : outputs) {
      if (want)
        CHECK(parity::worst_ratio(pool.clone(exec, there.*member, Device::cpu()), want, roundings) <= 1.0);
    }
  }
}

void check_causal_conv1d(const Checkpoint& file, const nlohmann::json& params) {
  TensorPool pool(0);
  CausalConv1dArgs args;
  args.x = file.tensor("in.x");
  args.weight = file.tensor("in.w");
  args.bias = find_tensor(file, "in.bias");
  args.initial_states = find_tensor(file, "in.init");
  args.seq_idx = find_tensor(file, "in.seq_idx");
  const std::string activation = params.value("activation", "none");
  REQUIRE((activation == "silu" || activation == "none"));
  args.activation = activation == "silu" ? Activation::silu : Activation::identity;
  const double roundings = 2.0 * static_cast<double>(args.weight.extent(1)) + 8.0;
  compare(pool, args,
          {{&CausalConv1dArgs::out, file.tensor("out.y")},
           {&CausalConv1dArgs::final_states, find_tensor(file, "out.final_state")}},
          roundings, "causal_conv1d", causal_conv1d_impls(), causal_conv1d_reference, causal_conv1d);
}

/// B and C of the selective scan: (batch, groups, dstate, seqlen) seen as (batch, seqlen, groups, dstate).
Tensor per_step(const Tensor& tensor) {
  return tensor.rank() == 4 ? tensor.transpose(1, 3).transpose(2, 3) : tensor;
}

/// (batch, dim, seqlen) seen as (batch, seqlen, dim).
Tensor channels_last(const Tensor& tensor) { return tensor ? tensor.transpose(1, 2) : tensor; }

void check_selective_scan(const Checkpoint& file, const nlohmann::json& params) {
  TensorPool pool(0);
  SelectiveScanArgs args;
  args.u = channels_last(file.tensor("in.u"));
  args.delta = channels_last(file.tensor("in.delta"));
  args.A = file.tensor("in.A");
  args.B = per_step(file.tensor("in.B"));
  args.C = per_step(file.tensor("in.C"));
  args.D = find_tensor(file, "in.D");
  args.z = channels_last(find_tensor(file, "in.z"));
  args.delta_bias = find_tensor(file, "in.dbias");
  args.delta_softplus = params.value("delta_softplus", false);
  args.initial_states = find_tensor(file, "in.init");
  // The errors of a recurrence that forgets add up over a few steps, those of the sum over the states over
  // dstate.
  const double roundings = 16.0 + static_cast<double>(args.A.extent(1));
  compare(pool, args,
          {{&SelectiveScanArgs::out, channels_last(file.tensor("out.y"))},
           {&SelectiveScanArgs::final_states, find_tensor(file, "out.last_state")}},
          roundings, "selective_scan", selective_scan_impls(), selective_scan_reference, selective_scan);
}

void check_ssd_scan(const Checkpoint& file, const nlohmann::json& params) {
  TensorPool pool(0);
  SsdScanArgs args;
  args.x = file.tensor("in.x");
  args.dt = file.tensor("in.dt");
  args.A = file.tensor("in.A");
  args.B = file.tensor("in.B");
  args.C = file.tensor("in.C");
  args.D = find_tensor(file, "in.D");
  args.z = find_tensor(file, "in.z");
  args.dt_bias = find_tensor(file, "in.dbias");
  args.dt_softplus = params.value("dt_softplus", false);
  args.initial_states = find_tensor(file, "in.init");
  args.seq_idx = find_tensor(file, "in.seq_idx");
  if (params.contains("dt_limit") && !params["dt_limit"].is_null()) {
    args.dt_min = json_number(params["dt_limit"][0], "dt_limit");
    args.dt_max = json_number(params["dt_limit"][1], "dt_limit");
  }
  const double roundings = 16.0 + static_cast<double>(args.B.extent(3));
  for (const std::int64_t chunk_size : params.value("chunk_sizes_to_try", std::vector<std::int64_t>{64})) {
    INFO("chunk_size " << chunk_size);
    args.chunk_size = chunk_size;
    compare(pool, args,
            {{&SsdScanArgs::out, file.tensor("out.y")},
             {&SsdScanArgs::final_states, find_tensor(file, "out.final_states")}},
            roundings, "ssd_scan", ssd_scan_impls(), ssd_scan_reference, ssd_scan);
  }
}

}  // namespace

TEST_CASE("goldens: ops") {
  const std::filesystem::path folder = test::goldens_folder() / "ops";
  const nlohmann::json index = read_json_file(folder / "index.json");
  REQUIRE(!index.empty());
  for (const nlohmann::json& entry : index) {
    const std::string op = entry.at("op"), name = entry.at("file");
    INFO(name);
    const Checkpoint file = Checkpoint::open(folder / name);
    if (op == "causal_conv1d")
      check_causal_conv1d(file, entry.at("params"));
    else if (op == "selective_scan")
      check_selective_scan(file, entry.at("params"));
    else if (op == "ssd_scan")
      check_ssd_scan(file, entry.at("params"));
    else
      FAIL("the index names an op that this test does not know: ", op);
  }
}
