#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bench/model/model_bench.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;

namespace {

const std::filesystem::path sample = std::filesystem::path(OPHIS_SOURCE_DIR) / "examples/models/mamba2-tiny";

bench::ModelReport measure(const LanguageModel& model) {
  ExecContext exec;
  return bench::run_model(exec, model, {"a model", 2, 16, 3, 1});
}

/// Writes the sample model with a weight that is not a number.
void write_broken_model(const std::filesystem::path& folder) {
  const Checkpoint checkpoint = Checkpoint::open(sample);
  const OwnedTensor broken = convert(checkpoint.tensor("backbone.norm_f.weight"), DType::float32);
  broken->data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  std::vector<NamedTensor> tensors;
  for (const std::string& name : checkpoint.names()) {
    tensors.push_back({name, name == "backbone.norm_f.weight" ? broken.view() : checkpoint.tensor(name)});
  }
  save_safetensors(folder / "model.safetensors", tensors);
  std::filesystem::copy_file(sample / "config.json", folder / "config.json");
}

}  // namespace

TEST_CASE("a model's benchmark tells speed beside the floors") {
  const LanguageModelConfig config = load_model_config(sample);
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    const bench::ModelReport report = measure(LanguageModel::random(config, dtype, 7));
    INFO(to_string(dtype), ": ", report.refused);
    CHECK(report.refused.empty());
    CHECK(report.parity_error > 0.0);
    CHECK(report.parity_error <= 1.0);
    const double weights = static_cast<double>(config.parameter_count());
    const double table = 4096.0 * 256.0;
    // 8 layers with states of 8 heads x 64 x 64, and 3 inputs of 512 + 2 x 64 channels; batch 2.
    const double states = 2.0 * 8.0 * (8 * 64 * 64 * 4.0 + 3 * 640 * static_cast<double>(size_of(dtype)));
    // The norms, the convolution, A, D and dt_bias are float32 whatever the model's dtype.
    const double small = 256.0 + 8.0 * (256 + 5 * 640 + 3 * 8 + 512);
    const double parameters = (weights - small) * static_cast<double>(size_of(dtype)) + small * 4.0;
    CHECK(report.step_bytes == parameters + 2.0 * states);
    CHECK(report.prefill_flops == 2.0 * ((weights - table) * 32.0 + table * 2.0));
    CHECK(report.prefill_tokens_per_second == doctest::Approx(32.0 / report.prefill_seconds));
    CHECK(report.decode_tokens_per_second == doctest::Approx(2.0 / report.step_seconds));
    CHECK(report.percent_of_gemm > 0.0);
    CHECK(report.percent_of_read > 0.0);
    const auto json = to_json(report);
    CHECK(json.at("status") == "ok");
    CHECK(json.at("decode").at("percent_of_read") == report.percent_of_read);
    CHECK(to_text(report).find("% of the GEMM floor") != std::string::npos);
  }
}

TEST_CASE("a model's benchmark tells no speed of wrong results") {
  const test::TemporaryFolder folder;
  write_broken_model(folder.path());
  const bench::ModelReport report = measure(LanguageModel::load(folder.path(), {DType::float32, {}, {}}));
  CHECK(std::isnan(report.parity_error));
  CHECK(!report.refused.empty());
  CHECK(report.prefill_seconds == 0.0);
  CHECK(to_json(report).at("status") == "refused");
  CHECK(!to_json(report).contains("prefill"));
  CHECK(to_text(report).find("tokens/s") == std::string::npos);
}

TEST_CASE("a model's benchmark needs something to do") {
  ExecContext exec;
  const LanguageModel model = LanguageModel::random(load_model_config(sample), DType::float32, 7);
  CHECK_THROWS_AS(bench::run_model(exec, model, {"", 1, 0, 1, 1}), Error);
}
