// ophis check: every implementation of every op against its reference, on this machine.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/ops/parity.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ComputeOptions compute;
  std::vector<std::string> ops;
  bool json = false;
};

/// The problems of one op, implementation and dtype.
struct Row {
  std::string op, impl;
  DType dtype;
  int problems = 0, skipped = 0, failed = 0;
  double error = 0.0;              ///< the worst, over its bound; NaN sticks
  std::string first_failure = {};  ///< the problem

  void add(const ParityResult& result) {
    if (!result.skipped.empty()) {
      ++skipped;
      return;
    }
    ++problems;
    if (!(result.error <= error)) error = result.error;
    if (!result.passed() && failed++ == 0) first_failure = result.problem;
  }
};

std::vector<Row> check_op(ExecContext& exec, const std::string& op, ProgressLine& line, std::size_t done,
                          std::size_t total) {
  std::vector<Row> rows;
  check_parity(exec, op, [&](const ParityResult& result) {
    auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& known) {
      return known.impl == result.impl && known.dtype == result.dtype;
    });
    if (row == rows.end()) row = rows.insert(rows.end(), {result.op, result.impl, result.dtype});
    row->add(result);
    line.show("checking", done, total, op);
  });
  return rows;
}

const char* verdict(const Row& row) {
  if (row.failed > 0) return "FAILED";
  return row.problems > 0 ? "passed" : "skipped";
}

void print_row(const Row& row) {
  print(fmt::format(
      "{:<24} {:<14} {:<9} {:>8} {:>7} {:>9.4f}  {}{}\n", row.op, row.impl, to_string(row.dtype),
      row.problems, row.skipped, row.error, verdict(row),
      row.failed > 0 ? fmt::format(": {} problems, first '{}'", row.failed, row.first_failure) : ""));
}

Json row_json(const Row& row) {
  Json json{{"op", row.op},
            {"implementation", row.impl},
            {"dtype", to_string(row.dtype)},
            {"problems", row.problems},
            {"skipped", row.skipped},
            {"failed", row.failed},
            {"error", row.error}};
  if (row.failed > 0) json["first_failure"] = row.first_failure;
  return json;
}

int run(const Options& options) {
  ExecContext exec = options.compute.make_context();
  const std::vector<std::string> ops = options.ops.empty() ? parity_ops() : options.ops;
  if (!options.json) {
    print(fmt::format("{:<24} {:<14} {:<9} {:>8} {:>7} {:>9}\n", "op", "implementation", "dtype", "problems",
                      "skipped", "error"));
  }
  ProgressLine line;
  Json list = Json::array();
  bool passed = true;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::vector<Row> rows = check_op(exec, ops[i], line, i, ops.size());
    line.clear();
    for (const Row& row : rows) {
      passed = passed && row.failed == 0;
      list.push_back(row_json(row));
      if (!options.json) print_row(row);
    }
  }
  if (options.json) {
    print_json({{"device", options.compute.device},
                {"threads", num_threads()},
                {"passed", passed},
                {"results", list}});
  } else {
    print(passed ? "every implementation agrees with its reference\n"
                 : "there are implementations that do not agree with their reference\n");
  }
  return passed ? exit_ok : exit_failed;
}

}  // namespace

Command add_check(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "check", "Compare every implementation of every op with its reference on this machine");
  command->add_option("--op", options->ops, "Only this op; may be given more than once")
      ->check(CLI::IsMember(parity_ops()).description(""));
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "error is the largest difference from the reference over what rounding explains: 1 or less passes.\n"
      "Exit code 1 if anything fails. JSON: device, threads, passed, results (op, implementation, dtype,\n"
      "problems, skipped, failed, error).\n\n"
      "Examples:\n"
      "  ophis check\n"
      "  ophis check --op linear --op causal_conv1d --json");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
