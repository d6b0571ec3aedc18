// Benchmarks of ops: time, GB/s, GFLOP/s and percent of the floors measured in the same run.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ophis/core/dtype.hpp"
#include "ophis/core/exec_context.hpp"

namespace ophis::bench {

struct Options {
  std::string op;  ///< only this op; empty: all
  std::vector<DType> dtypes = {DType::float32, DType::bfloat16, DType::float16};
  bool every_implementation =
      false;           ///< all that take a configuration, not only the one that dispatch chooses
  bool quick = false;  ///< fewer repetitions: to see that it runs, not to quote
};

/// What the machine can do at best, measured with the threads that the ops use.
struct Floors {
  int threads = 0;
  double copy_gb_s = 0.0;    ///< copying a large array, bytes read and bytes written
  double read_gb_s = 0.0;    ///< summing a large array
  double fma_gflop_s = 0.0;  ///< float32 multiply-adds in registers, two operations each
  std::map<DType, double>
      gemm_gflop_s;  ///< `linear` on a product of a model's size, for each dtype asked for
};

/// One configuration of one implementation of one op.
struct Result {
  std::string op;                ///< "causal_conv1d"
  std::string impl;              ///< "kokkos"
  std::string shape;             ///< "batch 1, seqlen 2048, dim 1792, width 4"
  DType dtype = DType::float32;  ///< of the activations
  double parity_error = 0.0;     ///< of this configuration, as in ParityResult
  std::string refused;           ///< why there is no speed, or empty; the fields below are then 0

  double bytes = 0.0;  ///< that must be moved: every input read once, every output written once
  double flops = 0.0;  ///< additions and multiplications, and one for each exp
  int repetitions = 0;
  double median_us = 0.0, min_us = 0.0;
  double gb_s = 0.0, gflop_s = 0.0;                                            ///< from the median
  double percent_of_copy = 0.0, percent_of_read = 0.0, percent_of_gemm = 0.0;  ///< of the floors
};

struct Report {
  Floors floors;
  std::vector<Result> results;

  /// Whether no result was refused.
  bool passed() const;
};

/// The names of all ops that have benchmarks.
std::vector<std::string> op_names();

/// Measures the floors, then every configuration that the options name, with caches flushed before each
/// repetition; `on_result` receives each result as it comes. A configuration whose parity with the reference
/// fails is refused: its result says why and holds no speed. Throws Error(invalid_argument) if there is no
/// such op.
Report run_ops(ExecContext& exec, const Options& options,
               const std::function<void(const Result&)>& on_result = {});

/// The fields of docs/benchmarks.md.
nlohmann::ordered_json to_json(const Report& report);

/// The same for people: a line for the floors, a line a result.
std::string to_table(const Report& report);

}  // namespace ophis::bench
