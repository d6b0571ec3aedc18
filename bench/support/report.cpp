#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/support/bench.hpp"

namespace ophis::bench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Floors& floors) {
  Json gemm = Json::object();
  for (const auto& [dtype, value] : floors.gemm_gflop_s) gemm[to_string(dtype)] = value;
  return {{"copy_gb_s", floors.copy_gb_s},
          {"read_gb_s", floors.read_gb_s},
          {"fma_gflop_s", floors.fma_gflop_s},
          {"gemm_gflop_s", gemm}};
}

Json to_json(const Result& result) {
  Json json = {{"op", result.op},
               {"impl", result.impl},
               {"shape", result.shape},
               {"dtype", to_string(result.dtype)},
               {"status", result.refused.empty() ? "ok" : "refused"},
               {"parity_error", result.parity_error}};
  if (!result.refused.empty()) {
    json["reason"] = result.refused;
    return json;
  }
  json["bytes"] = result.bytes;
  json["flops"] = result.flops;
  json["repetitions"] = result.repetitions;
  json["median_us"] = result.median_us;
  json["min_us"] = result.min_us;
  json["gb_s"] = result.gb_s;
  json["gflop_s"] = result.gflop_s;
  json["percent_of_copy"] = result.percent_of_copy;
  json["percent_of_read"] = result.percent_of_read;
  json["percent_of_gemm"] = result.percent_of_gemm;
  return json;
}

std::string floors_line(const Floors& floors) {
  std::string gemm;
  for (const auto& [dtype, value] : floors.gemm_gflop_s) {
    gemm += fmt::format("{} {} {:.0f}", gemm.empty() ? "" : ",", to_string(dtype), value);
  }
  return fmt::format(
      "floors, {} threads: copy {:.1f} GB/s, read {:.1f} GB/s, FMA {:.0f} GFLOP/s, GEMM{} GFLOP/s\n",
      floors.threads, floors.copy_gb_s, floors.read_gb_s, floors.fma_gflop_s, gemm);
}

}  // namespace

nlohmann::ordered_json to_json(const Report& report) {
  Json results = Json::array();
  for (const Result& result : report.results) results.push_back(to_json(result));
  return {{"threads", report.floors.threads}, {"floors", to_json(report.floors)}, {"results", results}};
}

std::string to_table(const Report& report) {
  std::size_t op = 2, shape = 5, impl = 4;
  for (const Result& result : report.results) {
    op = std::max(op, result.op.size());
    shape = std::max(shape, result.shape.size());
    impl = std::max(impl, result.impl.size());
  }
  std::string table = floors_line(report.floors);
  table += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:<8}  {:>10}  {:>10}  {:>6}  {:>6}  {:>6}  {:>7}  {:>6}\n",
                       "op", op, "shape", shape, "impl", impl, "dtype", "median us", "min us", "GB/s",
                       "% copy", "% read", "GFLOP/s", "% GEMM");
  for (const Result& r : report.results) {
    table += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:<8}  ", r.op, op, r.shape, shape, r.impl, impl,
                         to_string(r.dtype));
    if (r.refused.empty()) {
      table +=
          fmt::format("{:>10.1f}  {:>10.1f}  {:>6.1f}  {:>6.0f}  {:>6.0f}  {:>7.1f}  {:>6.1f}\n", r.median_us,
                      r.min_us, r.gb_s, r.percent_of_copy, r.percent_of_read, r.gflop_s, r.percent_of_gemm);
    } else {
      table += fmt::format("refused: {}\n", r.refused);
    }
  }
  return table;
}

}  // namespace ophis::bench
