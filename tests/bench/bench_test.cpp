#include "bench/support/bench.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/ops/cases.hpp"
#include "bench/support/runner.hpp"
#include "ops/activation/activation_impl.hpp"

using namespace ophis;

namespace {

bench::Configuration<ActivationArgs> make(parity::TensorPool& pool, DType dtype, const std::int64_t& count) {
  ActivationArgs args;
  args.x = pool.uniform(dtype, {count}, 1, 2);
  args.kind = Activation::silu;
  args.out = pool.poisoned(dtype, {count});
  return {args, {{"out", &ActivationArgs::out, 6.0}}, bench::bytes_of({args.x, args.out}), 3.0};
}

/// The results of timing silu against a reference.
std::vector<bench::Result> time_silu(void (*reference)(const ActivationArgs&)) {
  ExecContext exec;
  bench::Cases cases;
  const bench::Op<ActivationArgs> op{"activation", activation_impls, reference, activation};
  bench::add_case(cases, op, "100 elements", make, std::int64_t{100}, std::int64_t{10});
  bench::Options options;
  options.quick = options.every_implementation = true;
  bench::Floors floors;
  floors.copy_gb_s = 10.0;
  bench::CacheFlusher flusher(exec);
  return bench::run_case(exec, *cases.front(), DType::float32, floors, options, flusher);
}

void different_reference(const ActivationArgs& args) {
  ActivationArgs other = args;
  other.kind = Activation::relu;
  activation_reference(other);
}

void failing_reference(const ActivationArgs&) { fail(ErrorCode::internal, "no reference today"); }

void nan_reference(const ActivationArgs& args) { args.out.data<double>()[0] = std::nan(""); }

std::set<std::string> keys_of(const nlohmann::ordered_json& object) {
  std::set<std::string> keys;
  for (const auto& item : object.items()) keys.insert(item.key());
  return keys;
}

}  // namespace

TEST_CASE("a benchmark times what equals its reference") {
  for (const bench::Result& result : time_silu(activation_reference)) {
    CHECK(result.refused == "");
    CHECK(result.parity_error <= 1.0);
    CHECK(result.repetitions == 3);
    CHECK(result.median_us >= result.min_us);
    CHECK(result.min_us > 0.0);
    CHECK(result.bytes == 800.0);
    CHECK(result.gb_s == doctest::Approx(800.0 / result.median_us / 1e3));
    CHECK(result.percent_of_copy == doctest::Approx(10.0 * result.gb_s));
  }
}

TEST_CASE("a benchmark refuses a speed when parity fails") {
  struct Bad {
    void (*reference)(const ActivationArgs&);
    std::string reason;
  };
  for (const auto& [reference, reason] : {Bad{different_reference, "parity fails: the error is "},
                                          Bad{nan_reference, "parity fails: an output is not a number"},
                                          Bad{failing_reference, "parity cannot be checked: no reference"}}) {
    const std::vector<bench::Result> results = time_silu(reference);
    CHECK(results.size() == activation_impls().size());
    for (const bench::Result& result : results) {
      CHECK(result.refused.substr(0, reason.size()) == reason);
      CHECK(result.repetitions == 0);
      CHECK(result.median_us == 0.0);

      bench::Report report;
      report.results.push_back(result);
      CHECK_FALSE(report.passed());
      const auto json = bench::to_json(report)["results"][0];
      CHECK(keys_of(json) ==
            std::set<std::string>{"op", "impl", "shape", "dtype", "status", "parity_error", "reason"});
      CHECK(json["status"] == "refused");
      CHECK(json["reason"] == result.refused);
      CHECK(bench::to_table(report).find("refused: " + result.refused) != std::string::npos);
    }
  }
}

TEST_CASE("run_ops measures floors and reports the documented fields") {
  ExecContext exec;
  bench::Options options;
  options.op = "argmax";
  options.dtypes = {DType::bfloat16};
  options.quick = true;
  std::size_t seen = 0;
  const bench::Report report = bench::run_ops(exec, options, [&](const bench::Result&) { ++seen; });
  CHECK(report.passed());
  CHECK(seen == report.results.size());
  REQUIRE(seen > 0);

  const nlohmann::ordered_json json = bench::to_json(report);
  CHECK(keys_of(json) == std::set<std::string>{"threads", "floors", "results"});
  CHECK(json["threads"] == num_threads());
  CHECK(keys_of(json["floors"]) ==
        std::set<std::string>{"copy_gb_s", "read_gb_s", "fma_gflop_s", "gemm_gflop_s"});
  CHECK(keys_of(json["floors"]["gemm_gflop_s"]) == std::set<std::string>{"bfloat16"});
  for (const char* const floor : {"copy_gb_s", "read_gb_s", "fma_gflop_s"}) {
    CAPTURE(floor);
    CHECK(json["floors"][floor].get<double>() > 0.0);
  }
  for (const auto& result : json["results"]) {
    CHECK(keys_of(result) == std::set<std::string>{"op", "impl", "shape", "dtype", "status", "parity_error",
                                                   "bytes", "flops", "repetitions", "median_us", "min_us",
                                                   "gb_s", "gflop_s", "percent_of_copy", "percent_of_read",
                                                   "percent_of_gemm"});
    CHECK(result["op"] == "argmax");
    CHECK(result["dtype"] == "bfloat16");
    CHECK(result["status"] == "ok");
  }
  CHECK(bench::to_table(report).find("floors, ") == 0);
}

TEST_CASE("run_ops names the ops it knows") {
  ExecContext exec;
  bench::Options options;
  options.op = "nonesuch";
  CHECK_THROWS_WITH_AS(bench::run_ops(exec, options),
                       doctest::Contains("there is no benchmark of op 'nonesuch'; known: causal_conv1d"),
                       Error);
}

TEST_CASE("every benchmark passes its parity") {
  ExecContext exec;
  for (const std::unique_ptr<bench::Case>& bench_case : bench::all_cases()) {
    CAPTURE(bench_case->op());
    CAPTURE(bench_case->shape());
    CHECK(bench_case->parity_error(exec, DType::bfloat16, "kokkos") <= 1.0);
  }
}
