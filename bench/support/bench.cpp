#include "bench/support/bench.hpp"

#include <algorithm>

#include "bench/ops/cases.hpp"
#include "bench/support/floors.hpp"
#include "bench/support/runner.hpp"

namespace ophis::bench {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

bool Report::passed() const {
  return std::all_of(results.begin(), results.end(), [](const Result& r) { return r.refused.empty(); });
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const std::unique_ptr<Case>& bench_case : all_cases()) {
    if (names.empty() || names.back() != bench_case->op()) names.push_back(bench_case->op());
  }
  return names;
}

Report run_ops(ExecContext& exec, const Options& options,
               const std::function<void(const Result&)>& on_result) {
  const std::vector<std::string> known = op_names();
  OPHIS_REQUIRE(options.op.empty() || std::count(known.begin(), known.end(), options.op) > 0,
                "there is no benchmark of op '", options.op, "'; known: ", joined(known));
  Report report;
  report.floors = measure_floors(exec, options.dtypes);
  CacheFlusher flusher(exec);
  for (const std::unique_ptr<Case>& bench_case : all_cases()) {
    if (!options.op.empty() && options.op != bench_case->op()) continue;
    if (!bench_case->is_for(exec.device())) continue;
    for (const DType dtype : options.dtypes) {
      for (const Result& result : run_case(exec, *bench_case, dtype, report.floors, options, flusher)) {
        if (on_result) on_result(result);
        report.results.push_back(result);
      }
    }
  }
  return report;
}

}  // namespace ophis::bench
