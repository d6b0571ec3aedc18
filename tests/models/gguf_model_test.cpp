// Whole models in GGUF files: configuration, tokenizer and logits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "models/src/gguf/block_formats.hpp"
#include "models/src/json.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/tokenizer.hpp"
#include "tests/support/device.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/gguf_builder.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace ophis;
using namespace ophis::test;

namespace {

const fs::path sample_models = fs::path(OPHIS_SOURCE_DIR) / "examples" / "models";
const std::string tokens_key = "tokenizer.ggml.tokens", types_key = "tokenizer.ggml.token_type";

/// Metadata of a Mamba-2 model of one layer, with changes.
GgufBuilder mamba2_metadata(const std::map<std::string, std::uint32_t>& changes = {}) {
  std::map<std::string, std::uint32_t> values{
      {"mamba2.embedding_length", 32},   {"mamba2.block_count", 1},
      {"mamba2.ssm.conv_kernel", 4},     {"mamba2.ssm.inner_size", 64},
      {"mamba2.ssm.state_size", 16},     {"mamba2.ssm.time_step_rank", 8},
      {"mamba2.ssm.group_count", 2},     {"tokenizer.ggml.bos_token_id", 3},
      {"tokenizer.ggml.eos_token_id", 5}};
  for (const auto& [key, value] : changes) values[key] = value;
  GgufBuilder file("mamba2");
  for (const auto& [key, value] : values) {
    if (value != 0) file.integer(key, value);
  }
  file.number("mamba2.attention.layer_norm_rms_epsilon", 1e-6f);
  file.tensor("token_embd.weight", {32, 40}, gguf_type::F16, std::string(32 * 40 * 2, '\0'));
  file.tensor("blk.0.ssm_in.weight", {32, 200}, gguf_type::F16, std::string(32 * 200 * 2, '\0'));
  return file;
}

LanguageModelConfig config_of(const GgufBuilder& file) {
  const TemporaryFolder folder;
  return load_model_config(folder.write("model.gguf", file.build()));
}

void expect_config_error(ErrorCode code, std::string_view part, const GgufBuilder& file) {
  expect_error(code, {"model.gguf", part}, [&] { config_of(file); });
}

// ---- A model folder as llama.cpp's converter writes it.

/// Bytes of the values in one of ggml's types, and the values that they then stand for.
struct Encoded {
  std::uint32_t type;
  std::string bytes;
  std::vector<float> values;
};

template <class T>
Encoded encode_as(std::uint32_t type, const std::vector<float>& values) {
  std::vector<T> converted;
  for (const float value : values) converted.push_back(T(value));
  Encoded encoded{type, bytes_of(converted), {}};
  for (const T value : converted) encoded.values.push_back(static_cast<float>(value));
  return encoded;
}

/// Q8_0: blocks of 32 with a float16 scale.
Encoded encode_q8_0(const std::vector<float>& values) {
  Encoded encoded{gguf_type::Q8_0, {}, {}};
  for (std::size_t begin = 0; begin < values.size(); begin += 32) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[begin + i]));
    const float16 scale(largest / 127.0f);
    const auto d = static_cast<float>(scale);
    encoded.bytes += little_endian(scale.bits);
    for (std::size_t i = 0; i < 32; ++i) {
      const auto code = static_cast<std::int8_t>(d == 0.0f ? 0.0f : std::round(values[begin + i] / d));
      encoded.bytes += static_cast<char>(code);
      encoded.values.push_back(d * static_cast<float>(code));
    }
  }
  return encoded;
}

Encoded encode(std::uint32_t type, const std::vector<float>& values) {
  switch (type) {
    case gguf_type::F16:
      return encode_as<float16>(type, values);
    case gguf_type::BF16:
      return encode_as<bfloat16>(type, values);
    case gguf_type::Q8_0:
      return encode_q8_0(values);
    default:
      return encode_as<float>(type, values);
  }
}

struct Renamed {
  const char *ours, *theirs;
};
constexpr Renamed names[]{{"backbone.embeddings.", "token_embd."},
                          {"backbone.norm_f.", "output_norm."},
                          {"backbone.layers.", "blk."},
                          {"mixer.in_proj", "ssm_in"},
                          {"mixer.conv1d", "ssm_conv1d"},
                          {"mixer.x_proj", "ssm_x"},
                          {"mixer.dt_proj", "ssm_dt"},
                          {"mixer.dt_bias", "ssm_dt.bias"},
                          {"mixer.norm", "ssm_norm"},
                          {"mixer.out_proj", "ssm_out"},
                          {"mixer.A_log", "ssm_a"},
                          {"mixer.D", "ssm_d"},
                          {".norm.", ".attn_norm."}};

std::string converted_name(std::string name) {
  for (const Renamed& renamed : names) {
    if (const std::size_t at = name.find(renamed.ours); at != std::string::npos)
      name.replace(at, std::string_view(renamed.ours).size(), renamed.theirs);
  }
  return name;
}

bool is_matrix(const std::string& name) {
  return name.ends_with("_embd.weight") || name.ends_with("ssm_in.weight") ||
         name.ends_with("ssm_x.weight") || name.ends_with("ssm_dt.weight") ||
         name.ends_with("ssm_out.weight");
}

GgufBuilder metadata_of(const LanguageModelConfig& config) {
  GgufBuilder file(config.model_type);
  const auto key = [&](const char* name) { return config.model_type + "." + name; };
  const auto size = [&](const char* name, std::int64_t value) {
    file.integer(key(name), static_cast<std::uint32_t>(value));
  };
  size("embedding_length", config.d_model);
  size("block_count", config.n_layer);
  file.number(key("attention.layer_norm_rms_epsilon"), static_cast<float>(config.norm_epsilon));
  std::visit(
      [&](const auto& mixer) {
        size("ssm.conv_kernel", mixer.d_conv);
        size("ssm.inner_size", mixer.d_inner);
        size("ssm.state_size", mixer.d_state);
        if constexpr (requires { mixer.dt_rank; }) {
          size("ssm.time_step_rank", mixer.dt_rank);
        } else {
          size("ssm.time_step_rank", mixer.nheads);
          size("ssm.group_count", mixer.ngroups);
        }
      },
      config.mixer);
  return file;
}

void add_tokenizer(GgufBuilder& file, const fs::path& path) {
  const nlohmann::json json = read_json_file(path);
  std::vector<std::string> tokens(json["model"]["vocab"].size() + 3, "[PAD]"), merges;
  std::vector<std::int32_t> types(tokens.size(), 5);
  for (const auto& [token, id] : json["model"]["vocab"].items()) {
    tokens[id.get<std::size_t>()] = token;
    types[id.get<std::size_t>()] = 1;
  }
  for (const auto& added : json["added_tokens"])
    types[added["id"].get<std::size_t>()] = added["special"] ? 3 : 4;
  for (const auto& merge : json["model"]["merges"]) {
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "mpt");
  file.texts(tokens_key, tokens).integers(types_key, types).texts("tokenizer.ggml.merges", merges);
}

/// The folder's model with its matrices in `type`; `rounded`: with the values that `type` gives them, in
/// float32.
std::string gguf_of(const fs::path& folder, std::uint32_t type, bool rounded = false) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const LanguageModelConfig config = load_model_config(folder);
  GgufBuilder file = metadata_of(config);
  add_tokenizer(file, folder / "tokenizer.json");
  for (const std::string& ours : checkpoint.names()) {
    const Tensor tensor = checkpoint.tensor(ours);
    const std::string name = converted_name(ours);
    std::vector<float> values = values_of<float>(convert(tensor, DType::float32));
    std::vector<std::uint64_t> extents;  // without axes of extent 1, the dense one first
    for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
      if (tensor.extent(axis) != 1) extents.push_back(static_cast<std::uint64_t>(tensor.extent(axis)));
    }
    if (ours.ends_with("A_log"))
      std::transform(values.begin(), values.end(), values.begin(), [](float a) { return -std::exp(a); });
    const bool has_columns = ours.ends_with("A_log") || ours.ends_with("mixer.D");
    if (config.model_type == "mamba2" && has_columns) extents.insert(extents.begin(), 1);
    if (ours.ends_with("mixer.norm.weight")) extents.push_back(1);  // groups
    Encoded encoded = encode(is_matrix(name) && extents[0] % 32 == 0 ? type : gguf_type::F32, values);
    if (rounded) encoded = encode(gguf_type::F32, encoded.values);
    file.tensor(name, extents, encoded.type, encoded.bytes);
  }
  return file.build();
}

OwnedTensor logits_of(const fs::path& model, const Quantization& quantization = {}) {
  const LanguageModel loaded = LanguageModel::load(
      model,
      {.dtype = DType::float32, .device = test::device(), .progress = {}, .quantization = quantization});
  ExecContext exec(test::device());
  OwnedTensor ids(DType::int64, {2, 24});
  for (std::int64_t i = 0; i < ids->count(); ++i) ids->data<std::int64_t>()[i] = 37 * i * i % 4096;
  ForwardInput input;
  input.input_ids = ids;
  return test::to_host(loaded.forward(exec, input).logits);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0.0;
  for (std::int64_t i = 0; i < a.count(); ++i)
    largest = std::max(largest, static_cast<double>(std::fabs(a.data<float>()[i] - b.data<float>()[i])));
  return largest;
}

}  // namespace

TEST_CASE("gguf: the sample models' logits are those of their safetensors") {
  const TemporaryFolder folder;
  for (const char* name : {"mamba-tiny", "mamba2-tiny"}) {
    INFO(name);
    const fs::path original = sample_models / name;
    const OwnedTensor want = logits_of(original);
    for (const std::uint32_t type : {gguf_type::F32, gguf_type::BF16}) {  // the weights are bfloat16
      INFO("type " << type);
      CHECK(largest_difference(logits_of(folder.write("lossless.gguf", gguf_of(original, type))), want) ==
            0.0);
    }
    const fs::path half = folder.write("half.gguf", gguf_of(original, gguf_type::F16));
    const fs::path half_rounded = folder.write("rounded.gguf", gguf_of(original, gguf_type::F16, true));
    CHECK(largest_difference(logits_of(half), logits_of(half_rounded)) == 0.0);
    // Quantized weights are multiplied with in another order than dense ones.
    const fs::path quantized = folder.write("quantized.gguf", gguf_of(original, gguf_type::Q8_0));
    const fs::path rounded = folder.write("rounded.gguf", gguf_of(original, gguf_type::Q8_0, true));
    const OwnedTensor logits = logits_of(quantized);
    CHECK(largest_difference(logits, logits_of(rounded)) < 1e-4);
    CHECK(largest_difference(logits, want) > 1e-3);
  }
}

TEST_CASE("gguf: codes stay codes, and are not quantized again") {
  const TemporaryFolder folder;
  const fs::path original = sample_models / "mamba-tiny";
  const fs::path quantized = folder.write("q8.gguf", gguf_of(original, gguf_type::Q8_0));
  const fs::path half = folder.write("f16.gguf", gguf_of(original, gguf_type::F16));
  const auto step_bytes = [](const fs::path& model) { return LanguageModel::load(model).step_bytes(); };
  CHECK(LanguageModel::load(half).dtype() == DType::float16);
  CHECK(LanguageModel::load(quantized).dtype() == DType::float32);
  CHECK(step_bytes(quantized) < 0.65 * static_cast<double>(step_bytes(half)));
  const Quantization int4{.projections = WeightFormat{}, .tables = {}};
  expect_error(ErrorCode::invalid_argument, {"q8.gguf", "quantized already"},
               [&] { logits_of(quantized, int4); });
  CHECK(largest_difference(logits_of(half, int4), logits_of(original, int4)) < 0.2);
}

TEST_CASE("gguf: quantize_model makes a folder of a file") {
  const TemporaryFolder folder;
  for (const char* name : {"mamba-tiny", "mamba2-tiny"}) {
    INFO(name);
    const fs::path file = folder.write("model.gguf", gguf_of(sample_models / name, gguf_type::BF16));
    const fs::path made = folder.path() / name;
    const Quantization int8{.projections = WeightFormat{.bits = 8}, .tables = {}};
    quantize_model(file, made, {int8, {}, 0, {}});
    // A was the exponential of what is now its logarithm.
    CHECK(largest_difference(logits_of(made), logits_of(sample_models / name, int8)) < 1e-4);
    CHECK(Tokenizer::from_file(made).encode("Once upon a time") ==
          Tokenizer::from_file(sample_models / name).encode("Once upon a time"));
    const Checkpoint before = Checkpoint::open(sample_models / name), after = Checkpoint::open(made);
    for (const std::string& tensor : before.names()) {
      INFO(tensor);
      if (tensor.ends_with("in_proj.weight") || tensor.ends_with("out_proj.weight")) continue;
      REQUIRE(after.contains(tensor));
      CHECK(after.info(tensor).shape == before.info(tensor).shape);
    }
  }
  const fs::path quantized = folder.write("q8.gguf", gguf_of(sample_models / "mamba-tiny", gguf_type::Q8_0));
  expect_error(ErrorCode::invalid_argument, {"q8.gguf", "quantized already"}, [&] {
    quantize_model(quantized, folder.path() / "twice", {{WeightFormat{}, {}}, {}, 0, {}});
  });
  CHECK_FALSE(fs::exists(folder.path() / "twice"));
}

TEST_CASE("gguf: the configuration") {
  const LanguageModelConfig config = config_of(mamba2_metadata());
  CHECK(config.model_type == "mamba2");
  CHECK(config.d_model == 32);
  CHECK(config.n_layer == 1);
  CHECK(config.vocab_size == 40);
  CHECK(config.tie_embeddings);
  CHECK(config.norm_epsilon == 1e-6);
  CHECK(config.dtype == DType::float16);
  CHECK(config.bos_token_id == 3);
  CHECK(config.eos_token_ids == std::vector<std::int64_t>{5});
  CHECK(config.unread_parameters.empty());
  const auto& mixer = std::get<Mamba2Config>(config.mixer);
  CHECK(mixer.d_inner == 64);
  CHECK(mixer.nheads == 8);
  CHECK(mixer.headdim == 8);
  CHECK(mixer.ngroups == 2);
  CHECK(mixer.d_state == 16);
  CHECK(mixer.d_conv == 4);
  CHECK(config_of(mamba2_metadata({{"tokenizer.ggml.eot_token_id", 7}})).eos_token_ids ==
        std::vector<std::int64_t>{5, 7});
  GgufBuilder untied = mamba2_metadata();
  untied.tensor("output.weight", {32, 40}, gguf_type::F16, std::string(32 * 40 * 2, '\0'));
  CHECK_FALSE(config_of(untied).tie_embeddings);
}

TEST_CASE("gguf: configurations that are refused") {
  const ErrorCode corrupt = ErrorCode::corrupt_data, unsupported = ErrorCode::unsupported;
  expect_config_error(unsupported, "general.architecture is \"llama\"; Ophis knows mamba and mamba2",
                      GgufBuilder("llama"));
  expect_config_error(corrupt, "has no mamba2.ssm.state_size in its metadata",
                      mamba2_metadata({{"mamba2.ssm.state_size", 0}}));
  expect_config_error(corrupt, "mamba2.block_count should be in 1..",
                      mamba2_metadata({{"mamba2.block_count", 0xffffffff}}));
  expect_config_error(corrupt, "mamba2.ssm.inner_size should be a multiple of",
                      mamba2_metadata({{"mamba2.ssm.inner_size", 65}}));
  expect_config_error(corrupt, "token_embd.weight\" does not have rows of 64",
                      mamba2_metadata({{"mamba2.embedding_length", 64}}));
  expect_config_error(corrupt, "3 groups do not divide 8 heads",
                      mamba2_metadata({{"mamba2.ssm.group_count", 3}}));
  GgufBuilder falcon("mamba");
  for (const char* key : {"embedding_length", "block_count", "ssm.conv_kernel", "ssm.inner_size",
                          "ssm.state_size", "ssm.time_step_rank"})
    falcon.integer(std::string("mamba.") + key, 2);
  falcon.flag("mamba.ssm.dt_b_c_rms", true);
  falcon.tensor("token_embd.weight", {2, 2}, gguf_type::F32, std::string(16, '\0'));
  falcon.tensor("blk.0.ssm_in.weight", {2, 4}, gguf_type::F32, std::string(32, '\0'));
  expect_config_error(unsupported, "Falcon Mamba", falcon);
  expect_config_error(ErrorCode::not_found, "no tensor \"blk.0.ssm_in.weight\"",
                      GgufBuilder(metadata_of(load_model_config(sample_models / "mamba-tiny")))
                          .tensor("token_embd.weight", {256, 1}, gguf_type::F32, std::string(1024, '\0')));
}

TEST_CASE("gguf: a model that lacks a tensor, or has one of a wrong shape or type, is refused by its name") {
  const TemporaryFolder folder;
  const auto load = [&](const GgufBuilder& file) {
    return [path = folder.write("model.gguf", file.build())] { LanguageModel::load(path); };
  };
  expect_error(ErrorCode::not_found, {"model.gguf", "blk.0.ssm_conv1d.weight"}, load(mamba2_metadata()));
  expect_error(ErrorCode::corrupt_data, {"model.gguf", "in_proj.weight", "(200, 32)", "(232, 32)"},
               load(mamba2_metadata({{"mamba2.ssm.group_count", 4}, {"mamba2.ssm.state_size", 12}})));
  GgufBuilder strange = mamba2_metadata();
  strange.tensor("output.weight", {256, 4}, 23, std::string(4 * 136, '\0'));
  expect_error(ErrorCode::unsupported, {"output.weight", "IQ4_XS", "Q4_K, Q5_K, Q6_K"}, load(strange));
}

TEST_CASE("gguf: the tokenizer gives the ids of the tokenizer.json that it was made of") {
  const TemporaryFolder folder;
  GgufBuilder file;
  add_tokenizer(file, sample_models / "mamba-tiny" / "tokenizer.json");
  const Tokenizer tokenizer = Tokenizer::from_file(folder.write("model.gguf", file.build()));
  const Tokenizer original = Tokenizer::from_file(sample_models / "mamba-tiny");
  CHECK(tokenizer.vocab_size() == original.vocab_size());
  for (const char* text : {"To be, or not to be: that is the question", "  spaces   and\n\nlines\t1234 it's",
                           "e\u0301 caf\u00e9 \u4f60\u597d \U0001f600", "<|endoftext|>a<|endoftext|>", ""}) {
    INFO(text);
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    CHECK(ids == original.encode(text));
    CHECK(tokenizer.decode(ids) == original.decode(ids));
  }
  const std::int32_t end = *original.token_to_id("<|endoftext|>");
  CHECK(tokenizer.is_special(end));
  CHECK_FALSE(tokenizer.id_to_token(static_cast<std::int32_t>(original.vocab_size()) + 1));
  // From a folder, where a tokenizer.json beside the file counts first.
  CHECK(Tokenizer::from_file(folder.path()).vocab_size() == original.vocab_size());
  folder.write("tokenizer.json", "{");
  CHECK_THROWS_AS(Tokenizer::from_file(folder.path()), Error);
}

namespace {

const std::vector<std::string> letters{"a", "b", "1", "2", "ab", "12", "<s>", "[PAD]", "\u0120"};

GgufBuilder letters_tokenizer(std::string_view pre) {
  return GgufBuilder()
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", pre)
      .texts(tokens_key, letters)
      .integers(types_key, {1, 1, 1, 1, 1, 1, 3, 5, 1})
      .texts("tokenizer.ggml.merges", {"a b", "1 2"})
      .integer("tokenizer.ggml.bos_token_id", 6);
}

Tokenizer tokenizer_of(const GgufBuilder& file) {
  const TemporaryFolder folder;
  return Tokenizer::from_file(folder.write("model.gguf", file.build()));
}

}  // namespace

TEST_CASE("gguf: pre-tokenizers and special tokens") {
  using Ids = std::vector<std::int32_t>;
  CHECK(tokenizer_of(letters_tokenizer("gpt-2")).encode("ab12<s>b") == Ids{4, 5, 6, 1});
  CHECK(tokenizer_of(letters_tokenizer("starcoder")).encode("ab12") == Ids{4, 2, 3});
  CHECK(tokenizer_of(letters_tokenizer("llama-bpe")).encode("ab12") == Ids{6, 4, 5});
  CHECK(tokenizer_of(letters_tokenizer("qwen2")).encode("ab12") == Ids{4, 2, 3});
  GgufBuilder both = letters_tokenizer("gpt-2");
  both.integer("tokenizer.ggml.eos_token_id", 1);
  both.flag("tokenizer.ggml.add_bos_token", true).flag("tokenizer.ggml.add_eos_token", true);
  CHECK(tokenizer_of(both).encode("ab") == Ids{6, 4, 1});
  GgufBuilder none = letters_tokenizer("llama-bpe");
  none.flag("tokenizer.ggml.add_bos_token", false);
  CHECK(tokenizer_of(none).encode("ab") == Ids{4});
}

TEST_CASE("gguf: tokenizers that are refused") {
  const ErrorCode corrupt = ErrorCode::corrupt_data, unsupported = ErrorCode::unsupported;
  const auto expect = [](ErrorCode code, std::string_view part, const GgufBuilder& file) {
    expect_error(code, {"model.gguf", part}, [&] { tokenizer_of(file); });
  };
  const auto start = [] { return GgufBuilder().text("tokenizer.ggml.model", "gpt2"); };
  expect(unsupported, "tokenizer.ggml.model is \"\"; Ophis knows gpt2", GgufBuilder());
  expect(unsupported, "tokenizer.ggml.model is \"llama\"",
         GgufBuilder().text("tokenizer.ggml.model", "llama"));
  expect(unsupported, "tokenizer.ggml.pre is \"viking\"; Ophis knows default, gpt-2",
         letters_tokenizer("viking"));
  expect(corrupt, "tokenizer.ggml.tokens holds no tokens", start());
  expect(corrupt, "tokenizer.ggml.tokens should be an array of strings, got a value of type uint32",
         start().integer(tokens_key, 1));
  expect(corrupt, "token_type has 1 elements for 2 tokens",
         start().texts(tokens_key, {"a", "b"}).integers(types_key, {1}));
  expect(corrupt, "tokens[1], \"a\", is there twice", start().texts(tokens_key, {"a", "a"}));
  expect(corrupt, "tokens[0], \"\", is no text", start().texts(tokens_key, {""}));
  expect(corrupt, "is no text in UTF-8", start().texts(tokens_key, {"\xff"}));
  expect(corrupt, "merges[0] should be \"a b\", got \"ab\"",
         start().texts(tokens_key, {"a"}).texts("tokenizer.ggml.merges", {"ab"}));
  expect(corrupt, "merges[0] should be",
         start().texts(tokens_key, {"a"}).texts("tokenizer.ggml.merges", {""}));
  expect(corrupt, "eos_token_id should be in 0..8, got 99",
         letters_tokenizer("gpt-2")
             .flag("tokenizer.ggml.add_eos_token", true)
             .integer("tokenizer.ggml.eos_token_id", 99));
}
