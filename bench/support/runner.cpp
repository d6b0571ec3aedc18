#include "bench/support/runner.hpp"

#include <algorithm>

#include "ophis/core/timer.hpp"

namespace ophis::bench {
namespace {

struct Effort {
  int least, most;  ///< repetitions
  double seconds;   ///< after which no repetition above `least` starts
};
constexpr Effort full_effort{7, 100, 0.3}, quick_effort{3, 3, 0.0};

/// Why the configuration must not be timed, or empty.
std::string check_parity(ExecContext& exec, const Case& bench_case, Result& result) {
  try {
    result.parity_error = bench_case.parity_error(exec, result.dtype, result.impl);
  } catch (const Error& error) {
    return detail::concat("parity cannot be checked: ", error.what());
  }
  if (result.parity_error <= 1.0) return {};
  if (result.parity_error > 1.0)
    return detail::concat("parity fails: the error is ", result.parity_error, " times its bound");
  return "parity fails: an output is not a number";
}

/// Sorted times in seconds, each with cold caches.
std::vector<double> measure(ExecContext& exec, const Work& work, const std::string& impl,
                            const Effort& effort, CacheFlusher& flusher) {
  const auto run = [&] { work.run(exec, impl); };
  seconds_of(exec, run);  // the workspace grows in the first call
  std::vector<double> times;
  double total = 0.0;
  while (static_cast<int>(times.size()) < effort.least ||
         (total < effort.seconds && static_cast<int>(times.size()) < effort.most)) {
    flusher.flush();
    times.push_back(seconds_of(exec, run));
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return times;
}

double percent(double value, double floor) { return floor > 0.0 ? 100.0 * value / floor : 0.0; }

void set_speed(Result& result, const Work& work, const std::vector<double>& times, const Floors& floors) {
  const double median = times[times.size() / 2];
  result.bytes = work.bytes;
  result.flops = work.flops;
  result.repetitions = static_cast<int>(times.size());
  result.median_us = 1e6 * median;
  result.min_us = 1e6 * times.front();
  result.gb_s = 1e-9 * work.bytes / median;
  result.gflop_s = 1e-9 * work.flops / median;
  result.percent_of_copy = percent(result.gb_s, floors.copy_gb_s);
  result.percent_of_read = percent(result.gb_s, floors.read_gb_s);
  const auto gemm = floors.gemm_gflop_s.find(result.dtype);
  if (gemm != floors.gemm_gflop_s.end()) result.percent_of_gemm = percent(result.gflop_s, gemm->second);
}

}  // namespace

std::vector<Result> run_case(ExecContext& exec, const Case& bench_case, DType dtype, const Floors& floors,
                             const Options& options, CacheFlusher& flusher) {
  const Work work = bench_case.prepare(exec, dtype);
  std::vector<Result> results;
  for (const std::string& impl : work.implementations) {
    Result result;
    result.op = bench_case.op();
    result.impl = impl;
    result.shape = bench_case.shape();
    result.dtype = dtype;
    result.refused = check_parity(exec, bench_case, result);
    if (result.refused.empty()) {
      const Effort& effort = options.quick ? quick_effort : full_effort;
      set_speed(result, work, measure(exec, work, impl, effort, flusher), floors);
    }
    results.push_back(result);
    if (!options.every_implementation) break;
  }
  return results;
}

}  // namespace ophis::bench
