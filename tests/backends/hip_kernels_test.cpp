// The kernels for AMD GPUs, run by the model of a block of threads and of the matrix instructions.
#include <doctest/doctest.h>

#include <memory>

#include "backends/hip/causal_conv1d_hip_kernel.hpp"
#include "backends/hip/selective_scan_hip_kernel.hpp"
#include "backends/hip/ssd_scan_mfma_plan.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/causal_conv1d/final_states_kokkos.hpp"
#include "ops/parity/problem.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

/// Block after block, with shared memory that holds what the one before left.
template <class Kernel>
void run_model(ExecContext& exec, const Kernel& kernel, std::int64_t blocks) {
  exec.fence();  // parameters may have been converted
  const auto shared = std::make_unique<typename Kernel::Shared>();
  for (std::int64_t block = 0; block < blocks; ++block) kernel(block, *shared);
}

/// Solves the problems that the kernel takes, and returns how many there were.
template <class Args>
int check_problems(DType dtype, DType operands,
                   std::vector<parity::Problem<Args>> (*problems)(parity::TensorPool&, DType),
                   const char* (*why_not)(const Args&), void (*reference)(const Args&),
                   void (*model)(ExecContext&, const Args&)) {
  ExecContext exec;
  parity::TensorPool pool(42);
  int solved = 0;
  for (const parity::Problem<Args>& problem : problems(pool, dtype)) {
    if (why_not(problem.args) != nullptr) continue;
    INFO(problem.name << " " << dtype);
    CHECK(parity::solve(exec, pool, problem, reference, model, operands) <= 1.0);
    ++solved;
  }
  return solved;
}

}  // namespace

TEST_CASE("ssd_scan: the kernel for AMD's matrix cores meets the reference in a model of them") {
  const auto model = [](ExecContext& exec, const SsdScanArgs& args) {
    const Workspace::Scope scope(exec.workspace());
    ssd_scan_mfma::dispatch_kernel(
        exec, args, [&](const auto& kernel, std::int64_t blocks) { run_model(exec, kernel, blocks); });
  };
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    CHECK(check_problems<SsdScanArgs>(dtype, dtype, parity::ssd_scan_problems,
                                      ssd_scan_mfma::why_not_arguments, ssd_scan_reference, model) == 6);
  }
}

TEST_CASE("selective_scan: the kernel for AMD GPUs meets the reference in a model of a block") {
  const auto model = [](ExecContext& exec, const SelectiveScanArgs& args) {
    const Workspace::Scope scope(exec.workspace());
    selective_scan_hip::dispatch_kernel(
        exec, args, [&](const auto& kernel, std::int64_t blocks) { run_model(exec, kernel, blocks); });
  };
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    CHECK(check_problems<SelectiveScanArgs>(dtype, DType::float32, parity::selective_scan_problems,
                                            selective_scan_hip::why_not_arguments, selective_scan_reference,
                                            model) >= 10);
  }
}

TEST_CASE("causal_conv1d: the kernels for AMD GPUs meet the reference in a model of a block") {
  const auto model = [](ExecContext& exec, const CausalConv1dArgs& args) {
    const bool writes_final = causal_conv1d_hip::dispatch_kernel(
        args, [&](const auto& kernel, std::int64_t blocks) { run_model(exec, kernel, blocks); });
    if (!writes_final) causal_conv1d_kokkos::write_final_states(exec, args);
  };
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    CHECK(check_problems<CausalConv1dArgs>(dtype, DType::float32, parity::causal_conv1d_problems,
                                           causal_conv1d_hip::why_not_arguments, causal_conv1d_reference,
                                           model) >= 9);
  }
}

}  // namespace ophis
