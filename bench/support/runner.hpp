// Runs one configuration: first its parity, then, if that holds, its timing.
#pragma once

#include "bench/support/bench.hpp"
#include "bench/support/case.hpp"
#include "bench/support/floors.hpp"

namespace ophis::bench {

/// One result for each implementation of one case and dtype that the options ask for.
std::vector<Result> run_case(ExecContext& exec, const Case& bench_case, DType dtype, const Floors& floors,
                             const Options& options, CacheFlusher& flusher);

}  // namespace ophis::bench
