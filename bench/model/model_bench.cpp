#include "bench/model/model_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/support/floors.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/core/graph.hpp"
#include "ophis/core/timer.hpp"
#include "ophis/ops/argmax.hpp"

namespace ophis::bench {
namespace {

/// Ids without a pattern, the same in every run: (batch, seqlen) int64.
OwnedTensor make_ids(std::int64_t batch, std::int64_t seqlen, std::int64_t vocab_size) {
  OwnedTensor ids(DType::int64, {batch, seqlen});
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < ids->count(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    ids->data<std::int64_t>()[i] =
        static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(vocab_size));
  }
  return ids;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// How far logits may differ by rounding, as a part of the largest one. Each block rounds its activations
/// about eight times on the way to the residual, by half an ulp of the dtype, and its sums over d_inner by as
/// much as sqrt(d_inner) roundings of float32; independent errors add up as the root of their number. Four
/// standard deviations.
double relative_bound(const LanguageModelConfig& config, DType dtype, double state_roundings) {
  constexpr double deviations = 4.0;
  const double roundings_per_block = 8.0 + state_roundings;
  const std::int64_t d_inner = std::visit([](const auto& mixer) { return mixer.d_inner; }, config.mixer);
  double half_ulp = std::ldexp(1.0, -24);
  if (dtype == DType::bfloat16) half_ulp = std::ldexp(1.0, -9);
  if (dtype == DType::float16) half_ulp = std::ldexp(1.0, -12);
  const double sums = std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(d_inner));
  return deviations * std::sqrt(roundings_per_block * static_cast<double>(config.n_layer)) *
         std::max(half_ulp, sums);
}

/// ModelReport::parity_error.
double parity_error(ExecContext& exec, const LanguageModel& model, DType state_dtype) {
  constexpr std::int64_t seqlen = 20;
  const std::int64_t vocab_size = model.config().vocab_size;
  const OwnedTensor ids = make_ids(1, seqlen, vocab_size);
  ForwardInput input;
  input.input_ids = ids;
  const ForwardOutput whole = model.forward(exec, input);
  ModelCache cache = model.make_cache(1, state_dtype);
  const OwnedTensor logits(DType::float32, {1, vocab_size}, exec.device());
  const OwnedTensor whole_logits = copy_to(exec, whole.logits, Device::cpu());
  const OwnedTensor ids_there = copy_to(exec, ids, exec.device());
  double largest = 0.0, difference = 0.0;
  for (std::int64_t l = 0; l < seqlen; ++l) {
    model.step(exec, ids_there->select(1, l), cache, logits);
    const OwnedTensor got = copy_to(exec, logits, Device::cpu());
    const float* const want = whole_logits->data<float>() + l * vocab_size;
    for (std::int64_t v = 0; v < vocab_size; ++v) {
      largest = std::max(largest, std::fabs(static_cast<double>(want[v])));
      const double apart =
          std::fabs(static_cast<double>(want[v]) - static_cast<double>(got->data<float>()[v]));
      if (!(apart <= difference)) difference = apart;  // NaN sticks
    }
  }
  // A state that is not float32 is rounded after each step.
  const double state_roundings = state_dtype == DType::float32 ? 0.0 : static_cast<double>(seqlen);
  return difference / (relative_bound(model.config(), model.dtype(), state_roundings) * largest);
}

/// Prefill and decode of one report.
class Measurement {
 public:
  Measurement(ExecContext& exec, const LanguageModel& model, ModelReport& report)
      : m_exec(exec),
        m_model(model),
        m_report(report),
        m_cache(model.make_cache(report.options.batch, report.options.state_dtype)) {}

  void run() {
    const ModelOptions& options = m_report.options;
    const OwnedTensor ids = make_ids(options.batch, options.prompt_tokens, m_model.config().vocab_size);
    const OwnedTensor next(DType::int64, {options.batch}, m_exec.device());
    std::vector<double> prefill, decode;
    for (std::int64_t i = 0; i < options.repetitions; ++i) {
      m_cache.reset(m_exec);
      ForwardOutput output;
      prefill.push_back(seconds_of(m_exec, [&] { output = prefill_once(ids, next); }));
      const Tensor logits = output.logits->select(1, 0);
      Graph step(m_exec, [&] {
        m_model.step(m_exec, next, m_cache, logits);
        argmax(m_exec, {logits, next});
      });
      for (int warm_up = 0; warm_up < 2; ++warm_up) step.run();
      m_exec.fence();
      const std::uint64_t allocations = device_allocations();
      decode.push_back(seconds_of(m_exec, [&] {
        for (std::int64_t k = 0; k < options.new_tokens; ++k) step.run();
      }));
      m_report.step_allocations += device_allocations() - allocations;
    }
    fill_prefill(median(prefill));
    fill_decode(median(decode));
  }

 private:
  ForwardOutput prefill_once(const Tensor& ids, const Tensor& next) {
    ForwardInput input;
    input.input_ids = ids;
    input.cache = &m_cache;
    input.logits_to_keep = 1;
    ForwardOutput output = m_model.forward(m_exec, input);
    argmax(m_exec, {output.logits->select(1, 0), next});
    return output;
  }

  /// The weights of the embedding; those of the head have the same number.
  double table() const {
    return static_cast<double>(m_model.config().vocab_size) * static_cast<double>(m_model.config().d_model);
  }

  void fill_prefill(double time) {
    const ModelOptions& options = m_report.options;
    const auto batch = static_cast<double>(options.batch);
    const double tokens = batch * static_cast<double>(options.prompt_tokens);
    const double tables = m_model.config().tie_embeddings ? 1.0 : 2.0;
    const double block_weights = static_cast<double>(m_report.parameters) - tables * table();
    m_report.prefill_flops = 2.0 * (block_weights * tokens + table() * batch);
    m_report.prefill_seconds = time;
    m_report.prefill_tokens_per_second = tokens / time;
    m_report.percent_of_gemm =
        100.0 * 1e-9 * m_report.prefill_flops / time / m_report.floors.gemm_gflop_s.at(m_report.dtype);
  }

  void fill_decode(double time) {
    const ModelOptions& options = m_report.options;
    m_report.step_bytes =
        static_cast<double>(m_model.step_bytes()) + 2.0 * static_cast<double>(m_cache.bytes());
    m_report.step_seconds = time / static_cast<double>(options.new_tokens);
    m_report.decode_tokens_per_second = static_cast<double>(options.batch) / m_report.step_seconds;
    const double gb_s = 1e-9 * m_report.step_bytes / m_report.step_seconds;
    m_report.percent_of_read = 100.0 * gb_s / m_report.floors.read_gb_s;
    m_report.percent_of_copy = 100.0 * gb_s / m_report.floors.copy_gb_s;
  }

  ExecContext& m_exec;
  const LanguageModel& m_model;
  ModelReport& m_report;
  ModelCache m_cache;
};

/// Columns of the widest matrix of a block: in_proj.
std::int64_t in_proj_width(const MambaConfig& config) { return 2 * config.d_inner; }
std::int64_t in_proj_width(const Mamba2Config& config) {
  return 2 * config.d_inner + 2 * config.ngroups * config.d_state + config.nheads;
}

}  // namespace

ModelReport run_model(ExecContext& exec, const LanguageModel& model, const ModelOptions& options) {
  OPHIS_REQUIRE(
      options.batch >= 1 && options.prompt_tokens >= 1 && options.new_tokens >= 1 && options.repetitions >= 1,
      "model benchmark: batch, prompt_tokens, new_tokens and repetitions must be at least 1");
  const LanguageModelConfig& config = model.config();
  ModelReport report;
  report.options = options;
  report.dtype = model.dtype();
  report.parameters = config.parameter_count();
  report.parity_error = parity_error(exec, model, options.state_dtype);
  if (!(report.parity_error <= 1.0)) {
    report.refused =
        fmt::format("steps differ from the whole forward by {:.3g} times the bound", report.parity_error);
    return report;
  }
  report.floors = measure_floors(exec, {report.dtype});
  const std::int64_t width = std::visit([](const auto& mixer) { return in_proj_width(mixer); }, config.mixer);
  double& gemm = report.floors.gemm_gflop_s[report.dtype];
  gemm = std::max(
      gemm, measure_gemm(exec, report.dtype, {options.batch * options.prompt_tokens, config.d_model, width}));
  Measurement(exec, model, report).run();
  return report;
}

nlohmann::ordered_json to_json(const ModelReport& report) {
  nlohmann::ordered_json json = {{"model", report.options.name},
                                 {"dtype", to_string(report.dtype)},
                                 {"state_dtype", to_string(report.options.state_dtype)},
                                 {"batch", report.options.batch},
                                 {"prompt_tokens", report.options.prompt_tokens},
                                 {"new_tokens", report.options.new_tokens},
                                 {"repetitions", report.options.repetitions},
                                 {"parameters", report.parameters},
                                 {"status", report.refused.empty() ? "ok" : "refused"},
                                 {"parity_error", report.parity_error}};
  if (!report.refused.empty()) {
    json["reason"] = report.refused;
    return json;
  }
  json["threads"] = report.floors.threads;
  json["floors"] = {{"copy_gb_s", report.floors.copy_gb_s},
                    {"read_gb_s", report.floors.read_gb_s},
                    {"gemm_gflop_s", report.floors.gemm_gflop_s.at(report.dtype)}};
  json["prefill"] = {{"flops", report.prefill_flops},
                     {"seconds", report.prefill_seconds},
                     {"tokens_per_second", report.prefill_tokens_per_second},
                     {"percent_of_gemm", report.percent_of_gemm}};
  json["decode"] = {{"bytes_per_step", report.step_bytes},
                    {"seconds_per_step", report.step_seconds},
                    {"tokens_per_second", report.decode_tokens_per_second},
                    {"percent_of_read", report.percent_of_read},
                    {"percent_of_copy", report.percent_of_copy},
                    {"device_allocations", report.step_allocations}};
  return json;
}

std::string to_text(const ModelReport& report) {
  const ModelOptions& options = report.options;
  std::string text =
      fmt::format("{}: {:.1f} million parameters, {}, batch {}\n", options.name,
                  1e-6 * static_cast<double>(report.parameters), to_string(report.dtype), options.batch);
  text += fmt::format("parity   steps against the whole forward: {:.4f} of the bound\n", report.parity_error);
  if (!report.refused.empty()) return text + fmt::format("refused  {}\n", report.refused);
  text += fmt::format("floors   {} threads: copy {:.1f} GB/s, read {:.1f} GB/s, GEMM {:.0f} GFLOP/s\n",
                      report.floors.threads, report.floors.copy_gb_s, report.floors.read_gb_s,
                      report.floors.gemm_gflop_s.at(report.dtype));
  text += fmt::format("prefill  {} tokens: {:.3f} s, {:.1f} tokens/s, {:.1f} % of the GEMM floor\n",
                      options.batch * options.prompt_tokens, report.prefill_seconds,
                      report.prefill_tokens_per_second, report.percent_of_gemm);
  text += fmt::format(
      "decode   {} steps: {:.2f} ms a step, {:.1f} tokens/s, {:.1f} % of the read floor, {:.1f} % of copy\n",
      options.new_tokens, 1e3 * report.step_seconds, report.decode_tokens_per_second, report.percent_of_read,
      report.percent_of_copy);
  return text;
}

}  // namespace ophis::bench
