// Benchmark of a whole language model: prefill and decode against the floors measured in the same run.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "bench/support/bench.hpp"
#include "ophis/models/language_model.hpp"

namespace ophis::bench {

struct ModelOptions {
  std::string name;  ///< of the model, for the report
  std::int64_t batch = 1;
  std::int64_t prompt_tokens = 512;    ///< a sequence
  std::int64_t new_tokens = 64;        ///< a sequence
  std::int64_t repetitions = 3;        ///< medians are told
  DType state_dtype = DType::float32;  ///< of the cache
};

struct ModelReport {
  ModelOptions options;
  DType dtype = DType::float32;
  std::int64_t parameters = 0;
  Floors floors;

  /// The largest |logits of steps - logits of the whole forward| on a short sequence, over what rounding
  /// explains; 1 or less passes.
  double parity_error = 0.0;
  std::string refused;  ///< why there is no speed, or empty; the fields below are then 0

  /// What the prefill must multiply: the matrices of the blocks for each token, the head for the last of each
  /// sequence.
  double prefill_flops = 0.0;
  /// What a step must move: every weight read once (of an untied embedding nothing), the states read and
  /// written.
  double step_bytes = 0.0;
  double prefill_seconds = 0.0, prefill_tokens_per_second = 0.0, percent_of_gemm = 0.0;
  double step_seconds = 0.0, decode_tokens_per_second = 0.0, percent_of_read = 0.0, percent_of_copy = 0.0;
  /// Of device memory, by all steps after the second.
  std::uint64_t step_allocations = 0;
};

/// Checks that steps agree with the whole forward, then measures. Takes the floors with the threads and the
/// dtype of the model; the GEMM floor is the best `linear` on two shapes: that of Floors, and the model's
/// widest block matrix on the prompt.
ModelReport run_model(ExecContext& exec, const LanguageModel& model, const ModelOptions& options);

/// The fields of docs/benchmarks.md.
nlohmann::ordered_json to_json(const ModelReport& report);

/// The same for people.
std::string to_text(const ModelReport& report);

}  // namespace ophis::bench
