// The kernel of ssd_scan for AMD's matrix cores, run by the model of a block of threads and of the matrix
// instructions.
#include <doctest/doctest.h>

#include <memory>

#include "backends/hip/ssd_scan_mfma_plan.hpp"
#include "ops/parity/problem.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

void run_model(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  ssd_scan_mfma::dispatch_kernel(exec, args, [&]<class Kernel>(const Kernel& kernel, std::int64_t blocks) {
    exec.fence();
    const auto shared = std::make_unique<typename Kernel::Shared>();
    for (std::int64_t block = 0; block < blocks; ++block) kernel(block, *shared);
  });
}

}  // namespace

TEST_CASE("ssd_scan: the kernel for AMD's matrix cores meets the reference in a model of them") {
  ExecContext exec;
  int ran = 0;
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    parity::TensorPool pool(42);
    for (const auto& problem : parity::ssd_scan_problems(pool, dtype)) {
      if (ssd_scan_mfma::why_not_arguments(problem.args) != nullptr) continue;
      INFO(problem.name << " " << dtype);
      CHECK(parity::solve(exec, pool, problem, ssd_scan_reference, run_model, dtype) <= 1.0);
      ++ran;
    }
  }
  CHECK(ran >= 12);
}

}  // namespace ophis
