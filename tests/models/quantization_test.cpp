#include "ophis/models/quantization.hpp"

#include <cmath>

#include "ophis/core/copy.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/weight.hpp"
#include "tests/support/device.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/parity_test.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

const std::filesystem::path sample_models = std::filesystem::path(OPHIS_SOURCE_DIR) / "examples" / "models";

constexpr WeightFormat int8{.bits = 8}, int4{.bits = 4};

/// Element (o, i) of a quantized matrix, from its definition.
double element(const QuantizedMatrix& matrix, std::int64_t o, std::int64_t i) {
  const std::int64_t g = i / matrix.format.group_size, groups = matrix.scale->extent(1);
  const std::int64_t bit = i * matrix.format.bits, row_bytes = matrix.codes->extent(1);
  const int byte = matrix.codes->data<std::uint8_t>()[o * row_bytes + bit / 8];
  const int code = byte >> (bit % 8) & ((1 << matrix.format.bits) - 1);
  const int zero = matrix.zero_point.view() ? matrix.zero_point->data<std::uint8_t>()[o * groups + g]
                                            : 1 << (matrix.format.bits - 1);
  return static_cast<double>(static_cast<float>(matrix.scale->data<bfloat16>()[o * groups + g])) *
         (code - zero);
}

double scale_of(const QuantizedMatrix& matrix, std::int64_t o, std::int64_t i) {
  return static_cast<double>(static_cast<float>(
      matrix.scale->data<bfloat16>()[o * matrix.scale->extent(1) + i / matrix.format.group_size]));
}

/// The mean of |x (w - q)|^2 over the rows of x.
double output_error(const Tensor& x, const Tensor& weight, const QuantizedMatrix& quantized) {
  double sum = 0.0;
  for (std::int64_t r = 0; r < x.extent(0); ++r) {
    for (std::int64_t o = 0; o < weight.extent(0); ++o) {
      double difference = 0.0;
      for (std::int64_t i = 0; i < weight.extent(1); ++i) {
        difference +=
            static_cast<double>(x.data<float>()[r * x.extent(1) + i]) *
            (static_cast<double>(weight.data<float>()[o * weight.extent(1) + i]) - element(quantized, o, i));
      }
      sum += difference * difference;
    }
  }
  return sum / static_cast<double>(x.extent(0));
}

OwnedTensor some_ids() {
  OwnedTensor ids(DType::int64, {2, 24});
  for (std::int64_t i = 0; i < ids->count(); ++i) ids->data<std::int64_t>()[i] = 37 * i * i % 4096;
  return ids;
}

OwnedTensor logits_of(const LanguageModel& model) {
  ExecContext exec(test::device());
  const OwnedTensor ids = some_ids();
  ForwardInput input;
  input.input_ids = ids;
  return test::to_host(model.forward(exec, input).logits);
}

LoadOptions load_options(const Quantization& quantization = {}) {
  return {.dtype = DType::float32, .device = test::device(), .progress = {}, .quantization = quantization};
}

}  // namespace

TEST_CASE("quantize rounds every element to the nearest code") {
  TensorPool pool(1);
  const Tensor weight = pool.uniform(DType::float32, {6, 256}, -2, 2);
  for (const std::int64_t group_size : {std::int64_t{0}, std::int64_t{32}}) {
    for (const bool symmetric : {true, false}) {
      const QuantizedMatrix matrix = quantize(weight, {8, group_size, symmetric});
      CHECK(matrix.scale->shape() == Dims{6, group_size == 0 ? 1 : 8});
      CHECK(static_cast<bool>(matrix.zero_point.view()) == !symmetric);
      for (std::int64_t o = 0; o < 6; ++o) {
        for (std::int64_t i = 0; i < 256; ++i) {
          const double value = static_cast<double>(weight.data<float>()[o * 256 + i]);
          // The scale's own rounding may move the largest values beyond the last code.
          CHECK(std::fabs(element(matrix, o, i) - value) <= scale_of(matrix, o, i) * 0.5 + 2.0 * 0x1p-8);
        }
      }
    }
  }
}

TEST_CASE("quantize keeps zeros and constant groups") {
  TensorPool pool(2);
  const Tensor weight = pool.uniform(DType::float32, {2, 64}, 0, 1);
  std::fill_n(weight.data<float>(), 64, 0.0f);
  for (std::int64_t i = 64; i < 128; ++i) weight.data<float>()[i] = i % 2 == 0 ? 0.0f : 1.5f;
  for (const bool symmetric : {true, false}) {
    const QuantizedMatrix matrix = quantize(weight, {4, 64, symmetric});
    for (std::int64_t i = 0; i < 64; ++i) CHECK(element(matrix, 0, i) == 0.0);
    for (std::int64_t i = 0; i < 64; i += 2) CHECK(element(matrix, 1, i) == 0.0);
  }
}

TEST_CASE("quantize with statistics changes the outputs less") {
  TensorPool pool(3);
  constexpr std::int64_t in = 320, rows = 400;  // two whole blocks and a half
  const Tensor weight = pool.uniform(DType::float32, {16, in}, -1, 1);
  const Tensor noise = pool.uniform(DType::float32, {rows, in}, -1, 1);
  const Tensor x = pool.poisoned(DType::float32, {rows, in});
  for (std::int64_t r = 0; r < rows; ++r) {  // neighbours are alike, and some inputs much larger
    for (std::int64_t i = 0; i < in; ++i) {
      float sum = 0.0f;
      for (std::int64_t k = std::max<std::int64_t>(0, i - 6); k <= i; ++k)
        sum += noise.data<float>()[r * in + k];
      x.data<float>()[r * in + i] = sum * (i % 10 == 0 ? 3.0f : 1.0f);
    }
  }
  InputStatistics statistics{OwnedTensor(DType::float32, {3, 128, 128})};
  std::fill_n(statistics.products->data<float>(), statistics.products->count(), 0.0f);
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t j = i / 128 * 128; j < std::min(in, (i / 128 + 1) * 128); ++j) {
      double sum = 0.0;
      for (std::int64_t r = 0; r < rows; ++r)
        sum += static_cast<double>(x.data<float>()[r * in + i] * x.data<float>()[r * in + j]);
      statistics.products->data<float>()[i * 128 + j % 128] = static_cast<float>(sum);
    }
  }
  for (const std::int64_t group_size : {std::int64_t{32}, std::int64_t{160}, std::int64_t{0}}) {
    const WeightFormat format{4, group_size, true};
    const double nearest = output_error(x, weight, quantize(weight, format));
    CHECK(output_error(x, weight, quantize(weight, format, &statistics)) < 0.6 * nearest);
  }
  statistics.products = OwnedTensor(DType::float32, {2, 128, 128});
  CHECK_THROWS_WITH(
      quantize(weight, int4, &statistics),
      "320 inputs cannot be cut into groups of 128; choose a group size that divides them and is a "
      "multiple of 8, or whole rows");
  CHECK_THROWS_WITH(quantize(weight, {4, 64, true}, &statistics),
                    "quantize: statistics of shape (2, 128, 128) are not those of 320 inputs");
}

TEST_CASE("quantize refuses what it cannot store") {
  TensorPool pool(4);
  const Tensor weight = pool.uniform(DType::float32, {2, 128}, -1, 1);
  CHECK_THROWS_WITH(quantize(weight, {3, 128, true}), "codes have 8 or 4 bits, not 3");
  const OwnedTensor integers(DType::int64, {2, 128});
  CHECK_THROWS_WITH(quantize(integers, int4), "a matrix of int64 cannot be quantized");
  CHECK_THROWS_WITH(quantize(weight.reshape({256}), int4),
                    "a matrix is wanted to be quantized, got float32 (256)");
  weight.data<float>()[130] = NAN;
  CHECK_THROWS_WITH(quantize(weight, int8),
                    "row 1 holds values that are not finite, which cannot be quantized");
  CHECK_THROWS_WITH(parse_weight_format("int5"), "unknown weight format 'int5'; known: int8, int4");
  CHECK_THROWS_WITH(parse_weight_format("int4", 12),
                    "the group size is 12, but must be a multiple of 8, or 0 for whole rows");
}

TEST_CASE("a folder of quantized weights gives the same model as quantizing when loading") {
  const test::TemporaryFolder folder;
  int made = 0;
  for (const char* const name : {"mamba-tiny", "mamba2-tiny"}) {
    for (const Quantization& what : {Quantization{int4, int8}, Quantization{WeightFormat{4, 64, false}, {}},
                                     Quantization{WeightFormat{8, 0, false}, WeightFormat{8, 0, true}}}) {
      INFO(name << " " << made);
      const std::filesystem::path out = folder.path() / std::to_string(made++);
      quantize_model(sample_models / name, out, {.what = what, .calibration_text = {}, .progress = {}});
      const OwnedTensor loaded = logits_of(LanguageModel::load(out, load_options()));
      const OwnedTensor on_the_way = logits_of(LanguageModel::load(sample_models / name, load_options(what)));
      CHECK(test::same_bits(loaded, on_the_way));
      CHECK(std::filesystem::exists(out / "tokenizer.json"));
      CHECK(std::filesystem::file_size(out / "model.safetensors") <
            std::filesystem::file_size(sample_models / name / "model.safetensors") * (what.tables ? 6 : 7) /
                10);
    }
  }
}

TEST_CASE("quantized models step as they pass") {
  for (const char* const name : {"mamba-tiny", "mamba2-tiny"}) {
    const LanguageModel model = LanguageModel::load(sample_models / name, load_options({int4, int8}));
    ExecContext exec(test::device());
    const OwnedTensor ids = some_ids();
    ForwardInput input;
    input.input_ids = ids;
    input.logits_to_keep = 1;
    const OwnedTensor want = test::to_host(model.forward(exec, input).logits);
    ModelCache cache = model.make_cache(2);
    const OwnedTensor logits(DType::float32, {2, model.config().vocab_size}, test::device());
    for (std::int64_t l = 0; l < ids->extent(1); ++l) {
      const OwnedTensor column(DType::int64, {2});
      for (std::int64_t b = 0; b < 2; ++b)
        column->data<std::int64_t>()[b] = ids->data<std::int64_t>()[b * 24 + l];
      const OwnedTensor there = copy_to(exec, column, test::device());
      model.step(exec, there, cache, logits);
      exec.fence();
    }
    exec.fence();
    const OwnedTensor got = test::to_host(logits);
    for (std::int64_t i = 0; i < got->count(); ++i)
      CHECK(std::fabs(got->data<float>()[i] - want->data<float>()[i]) <= 2e-3f);
  }
}

TEST_CASE("weights in the layouts of compressed-tensors are read") {
  // in_proj (1, 8) of a source: codes -8 ... -1, packed as unsigned, the first in the lowest bits.
  const OwnedTensor packed(DType::int32, {1, 1}), scale(DType::bfloat16, {1, 1}), zero(DType::int32, {1, 1});
  *packed->data<std::int32_t>() = 0x76543210;
  *scale->data<bfloat16>() = bfloat16(0.5f);
  *zero->data<std::int32_t>() = 0x3;
  ParameterMap map{{"in_proj.weight_packed", {packed, {}}}, {"in_proj.weight_scale", {scale, {}}}};
  const auto read = [&] { return require_weight(ParameterSource(map), "in_proj", {1, 8}, DType::float32); };
  Weight weight = read();
  CHECK(weight.values.tensor.shape() == Dims{1, 4});
  CHECK(weight.values.tensor.data<std::uint8_t>()[0] == 0x10);
  CHECK(!weight.shift);
  map["in_proj.weight_zero_point"] = {zero, {}};
  CHECK(*read().shift.tensor.data<float>() == -1.5f);

  map["in_proj.weight_packed"].tensor = packed->reshape({1, 1, 1});
  test::expect_error(ErrorCode::corrupt_data, {"parameter in_proj.weight_packed has shape (1, 1, 1)"}, read);
  map["in_proj.weight_packed"].tensor = scale;
  test::expect_error(ErrorCode::corrupt_data,
                     {"parameter in_proj.weight_packed is bfloat16, but must be int32"}, read);
  map["in_proj.weight_packed"].tensor = packed;
  map["in_proj.weight_g_idx"] = {packed, {}};
  test::expect_error(ErrorCode::unsupported, {"in_proj.weight_g_idx"}, read);
  map.erase("in_proj.weight_g_idx");
  map["in_proj.weight_zero_point"].tensor = scale;
  test::expect_error(ErrorCode::corrupt_data, {"parameter in_proj.weight_zero_point is bfloat16"}, read);
  map.erase("in_proj.weight_scale");
  test::expect_error(ErrorCode::not_found, {"there is no parameter in_proj.weight_scale"}, read);

  // int-quantized: signed bytes, a scale a row.
  const OwnedTensor codes(DType::int8, {1, 8}), row_scale(DType::float32, {1});
  for (int i = 0; i < 8; ++i) codes->data<std::int8_t>()[i] = static_cast<std::int8_t>(i - 128);
  *row_scale->data<float>() = 2.0f;
  map = {{"in_proj.weight", {codes, {}}}, {"in_proj.weight_scale", {row_scale, {}}}};
  weight = read();
  CHECK(weight.values.tensor.data<std::uint8_t>()[7] == 7);
  CHECK(weight.scale.tensor.shape() == Dims{1, 1});
}

TEST_CASE("quantization_config is read or refused") {
  const auto parse = [](const std::string& quantization) {
    return parse_model_config(R"({"model_type": "mamba", "quantization_config": )" + quantization + "}", "c");
  };
  const LanguageModelConfig by_name = parse(
      R"({"quant_method": "torchao", "quant_type": "int4_weight_only", "quant_type_kwargs": {"group_size": 64}})");
  REQUIRE(by_name.quantize_on_load.projections);
  CHECK(by_name.quantize_on_load.projections->bits == 4);
  CHECK(by_name.quantize_on_load.projections->group_size == 64);
  CHECK(by_name.unread_parameters.empty());
  const LanguageModelConfig by_object = parse(
      R"({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}}}})");
  REQUIRE(by_object.quantize_on_load.projections);
  CHECK(by_object.quantize_on_load.projections->group_size == 128);
  CHECK(!parse(R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})").quantize_on_load);
  test::expect_error(ErrorCode::unsupported, {"quant_method is \"bitsandbytes\""},
                     [&] { parse(R"({"quant_method": "bitsandbytes"})"); });
  test::expect_error(ErrorCode::unsupported, {"format is 'float-quantized'"}, [&] {
    parse(R"({"quant_method": "compressed-tensors", "format": "float-quantized"})");
  });
  test::expect_error(ErrorCode::unsupported, {"quantized activations are not supported"}, [&] {
    parse(R"({"quant_method": "compressed-tensors", "config_groups": {"a": {"input_activations": {}}}})");
  });
}

TEST_CASE("quantize_model leaves nothing behind when it fails") {
  const test::TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "out";
  const QuantizeOptions wrong{
      .what = {WeightFormat{4, 96, true}, {}}, .calibration_text = {}, .progress = {}};
  CHECK_THROWS_AS(quantize_model(sample_models / "mamba-tiny", out, wrong), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
  const QuantizeOptions right{.what = {int8, {}}, .calibration_text = {}, .progress = {}};
  test::expect_error(ErrorCode::not_found, {"no/out"}, [&] {
    quantize_model(sample_models / "mamba-tiny", folder.path() / "no" / "out", right);
  });
  quantize_model(sample_models / "mamba-tiny", out, right);
  test::expect_error(ErrorCode::invalid_argument, {"exists already"},
                     [&] { quantize_model(sample_models / "mamba-tiny", out, right); });
  test::expect_error(ErrorCode::invalid_argument, {"is quantized already"},
                     [&] { quantize_model(out, folder.path() / "again", right); });
  test::expect_error(ErrorCode::invalid_argument, {"cannot be quantized again"}, [&] {
    LanguageModel::load(out, load_options({int4, {}}));
  });
}
