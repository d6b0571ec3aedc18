// Every implementation of every op against its sequential reference, on this machine.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/core/exec_context.hpp"

namespace ophis {

struct ParityResult {
  std::string op;       ///< "ssd_scan"
  std::string impl;     ///< "kokkos"
  std::string problem;  ///< what was computed, e.g. "batch 2, seqlen 65, z, D"
  DType dtype;          ///< of the activations
  /// The largest |got - want| over its bound, over all outputs; it passes at 1 or less. NaN where an output
  /// was not written or is not a number.
  double error = 0.0;
  std::string skipped;  ///< why the implementation cannot run this problem, or empty

  bool passed() const { return skipped.empty() && error <= 1.0; }
};

/// The names of all ops that have a parity check.
std::vector<std::string> parity_ops();

/// The implementations of an op, in the order in which dispatch tries them. Throws Error(invalid_argument) if
/// there is no such op.
std::vector<std::string> implementation_names(std::string_view op);

/// Runs the problems of one op for every dtype and implementation; `report` receives each result as it comes.
/// Throws Error(invalid_argument) if there is no such op.
void check_parity(ExecContext& exec, std::string_view op,
                  const std::function<void(const ParityResult&)>& report);

}  // namespace ophis
