#include "ophis/models/language_model.hpp"

#include <numeric>

#include "models/src/initialization.hpp"
#include "models/src/json.hpp"
#include "ophis/models/generation.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/parity_test.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;
using parity::TensorPool;

namespace {

constexpr const char* small_mamba =
    R"({"model_type": "mamba", "vocab_size": 50, "hidden_size": 16, "state_size": 4,
    "num_hidden_layers": 2, "time_step_rank": 2})";
constexpr const char* small_mamba2 = R"({"d_model": 16, "n_layer": 2, "vocab_size": 45, "rms_norm": false,
    "residual_in_fp32": false, "pad_vocab_size_multiple": 10, "tie_embeddings": false,
    "ssm_cfg": {"layer": "Mamba2", "headdim": 8, "d_state": 8, "ngroups": 2}})";

LanguageModel random_model(const char* json, DType dtype = DType::float32, std::uint64_t seed = 3) {
  return LanguageModel::random(parse_model_config(json, "test"), dtype, seed);
}

OwnedTensor ids_of(std::int64_t batch, std::int64_t seqlen, std::int64_t vocab) {
  OwnedTensor ids(DType::int64, {batch, seqlen});
  for (std::int64_t i = 0; i < ids->count(); ++i) ids->data<std::int64_t>()[i] = (i * 7 + i / 3) % vocab;
  return ids;
}

double difference(const Tensor& got, const Tensor& want) {
  TensorPool pool(0);
  return parity::worst_ratio(got, pool.as_float64(want), 64.0);
}

}  // namespace

TEST_CASE("a forward longer than one pass equals its pieces") {
  ExecContext exec;
  const LanguageModel model = random_model(small_mamba);
  const std::int64_t seqlen = LanguageModel::max_positions_per_pass + 37;
  const OwnedTensor ids = ids_of(1, seqlen, 50);
  ForwardInput input;
  input.input_ids = ids;
  const ForwardOutput whole = model.forward(exec, input);

  ModelCache cache = model.make_cache(1);
  input.cache = &cache;
  input.input_ids = ids->slice(1, 0, 3000);
  CHECK(difference(model.forward(exec, input).logits, whole.logits->slice(1, 0, 3000)) <= 1.0);
  input.input_ids = ids->slice(1, 3000, seqlen);
  CHECK(difference(model.forward(exec, input).logits, whole.logits->slice(1, 3000, seqlen)) <= 1.0);
  CHECK(cache.seqlen() == seqlen);

  cache.reset(exec);
  CHECK(cache.seqlen() == 0);
  input.input_ids = ids->slice(1, 0, 5);
  CHECK(difference(model.forward(exec, input).logits, whole.logits->slice(1, 0, 5)) <= 1.0);
}

TEST_CASE("a copied cache goes on from where its original was") {
  ExecContext exec;
  const LanguageModel model = random_model(small_mamba2);
  const OwnedTensor ids = ids_of(2, 7, 50);
  ModelCache cache = model.make_cache(2), copied = model.make_cache(2), single = model.make_cache(1);
  ForwardInput input;
  input.input_ids = ids;
  input.cache = &cache;
  model.forward(exec, input);
  copied.copy_from(exec, cache);
  CHECK(copied.seqlen() == 7);

  input.input_ids = ids->slice(1, 0, 3);
  const ForwardOutput want = model.forward(exec, input);
  CHECK(copied.seqlen() == 7);
  input.cache = &copied;
  CHECK(difference(model.forward(exec, input).logits, want.logits) == 0.0);

  test::expect_error(ErrorCode::invalid_argument, {"2 layers and batch 1", "2 and batch 2"},
                     [&] { single.copy_from(exec, cache); });
  ModelCache other(std::vector<BlockState>(1), 2);
  input.cache = &other;
  test::expect_error(ErrorCode::invalid_argument, {"the cache has 1 layers, but the model has 2"},
                     [&] { model.forward(exec, input); });
}

TEST_CASE("logits of chosen positions are those of the whole") {
  ExecContext exec;
  for (const char* const config : {small_mamba, small_mamba2}) {
    const LanguageModel model = random_model(config);
    const OwnedTensor ids = ids_of(3, 11, 50);
    ForwardInput input;
    input.input_ids = ids;
    const ForwardOutput all = model.forward(exec, input);
    CHECK(all.logits->shape() == Dims{3, 11, 50});
    std::vector<std::int64_t> positions{9, 2, 3, 3};
    input.logits_positions = Tensor(positions.data(), DType::int64, {4});
    const ForwardOutput some = model.forward(exec, input);
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t position = positions[static_cast<std::size_t>(i)];
      CHECK(difference(some.logits->select(1, i), all.logits->select(1, position)) <= 1.0);
    }
    input.logits_positions = Tensor();
    input.logits_to_keep = 2;
    CHECK(difference(model.forward(exec, input).logits, all.logits->slice(1, 9, 11)) <= 1.0);
  }
}

TEST_CASE("the loss passes over ignored labels and does not depend on the logits kept") {
  ExecContext exec;
  const LanguageModel model = random_model(small_mamba);
  const OwnedTensor ids = ids_of(2, 300, 50);
  ForwardInput input;
  input.input_ids = input.labels = ids;
  const double all = *model.forward(exec, input).loss;
  CHECK(all == doctest::Approx(std::log(50.0)).epsilon(0.1));
  input.logits_to_keep = 1;
  CHECK(*model.forward(exec, input).loss == doctest::Approx(all).epsilon(1e-6));

  const OwnedTensor labels = ids_of(2, 300, 50);
  for (std::int64_t l = 0; l < 300; ++l) labels->data<std::int64_t>()[l] = -100;
  input.labels = labels;
  const double second = *model.forward(exec, input).loss;
  input.input_ids = input.labels = ids->slice(0, 1, 2);
  CHECK(*model.forward(exec, input).loss == doctest::Approx(second).epsilon(1e-6));
}

TEST_CASE("the same seed gives the same model, in every dtype about the same logits") {
  ExecContext exec;
  const OwnedTensor ids = ids_of(1, 20, 50);
  ForwardInput input;
  input.input_ids = ids;
  for (const char* const config : {small_mamba, small_mamba2}) {
    const ForwardOutput a = random_model(config).forward(exec, input);
    const ForwardOutput b = random_model(config).forward(exec, input);
    const ForwardOutput other = random_model(config, DType::float32, 4).forward(exec, input);
    CHECK(test::same_bits(a.logits, b.logits));
    CHECK_FALSE(test::same_bits(a.logits, other.logits));
    const ForwardOutput half = random_model(config, DType::bfloat16).forward(exec, input);
    TensorPool pool(0);
    // Some twenty roundings to bfloat16 lie between ids and logits; in units of float32's epsilon.
    CHECK(parity::worst_ratio(half.logits, pool.as_float64(a.logits), 20.0 * 0x1p15) <= 1.0);
  }
}

TEST_CASE("random weights can be quantized, and then take fewer bytes and give nearly the same logits") {
  ExecContext exec;
  const OwnedTensor ids = ids_of(1, 20, 50);
  ForwardInput input;
  input.input_ids = ids;
  for (const char* const name : {small_mamba, small_mamba2}) {
    const LanguageModelConfig config = parse_model_config(name, "test");
    const LanguageModel dense = LanguageModel::random(config, DType::float32, 3);
    const Quantization int8{parse_weight_format("int8", 0, true), parse_weight_format("int8", 0, true)};
    const LanguageModel coded = LanguageModel::random(config, DType::float32, 3, Device::cpu(), int8);
    CHECK(coded.step_bytes() < dense.step_bytes() / 2);
    const ForwardOutput a = dense.forward(exec, input), b = coded.forward(exec, input);
    CHECK_FALSE(test::same_bits(a.logits, b.logits));
    TensorPool pool(0);
    // Codes of 8 bits are about as exact as bfloat16.
    CHECK(parity::worst_ratio(b.logits, pool.as_float64(a.logits), 20.0 * 0x1p15) <= 1.0);
  }
}

TEST_CASE("generation takes no memory from the device after the second token") {
  ExecContext exec(test::device());
  for (const char* const config : {small_mamba, small_mamba2}) {
    const LanguageModel model =
        LanguageModel::random(parse_model_config(config, "test"), DType::bfloat16, 3, test::device());
    std::vector<std::uint64_t> allocations;
    GenerationOptions options;
    options.max_new_tokens = 256;
    options.eos_token_ids.emplace();
    options.on_token = [&](std::size_t, std::int32_t) {
      allocations.push_back(device_allocations());
      return true;
    };
    const std::vector<TokenIds> prompts{{5, 6, 7, 8, 9, 10}, {11}};
    generate(model, exec, prompts, options);
    REQUIRE(allocations.size() == 512);
    CHECK(allocations.back() == allocations[2]);
  }
}

TEST_CASE("a cache in the model's dtype gives nearly the same logits") {
  ExecContext exec;
  for (const char* const config : {small_mamba, small_mamba2}) {
    const LanguageModel model = random_model(config, DType::bfloat16);
    const OwnedTensor ids = ids_of(2, 12, 45);
    std::vector<OwnedTensor> logits;
    for (const DType state_dtype : {DType::float32, DType::bfloat16}) {
      ModelCache cache = model.make_cache(2, state_dtype);
      CHECK(cache.layer(0).ssm->dtype() == state_dtype);
      ForwardInput input;
      input.input_ids = ids;
      input.cache = &cache;
      model.forward(exec, input);
      const OwnedTensor next = ids_of(2, 1, 45);
      logits.emplace_back(DType::float32, Dims{2, model.config().vocab_size});
      model.step(exec, next->select(1, 0), cache, logits.back());
    }
    TensorPool pool(0);
    CHECK(parity::worst_ratio(logits[1], pool.as_float64(logits[0]), 20.0 * 0x1p15) <= 1.0);
  }
  const LanguageModel model = random_model(small_mamba, DType::bfloat16);
  test::expect_error(ErrorCode::invalid_argument, {"state", "float32", "bfloat16", "float16"},
                     [&] { model.make_cache(1, DType::float16); });
}

TEST_CASE("prompts of different lengths generate as they do alone") {
  ExecContext exec;
  for (const char* const config : {small_mamba, small_mamba2}) {
    const LanguageModel model = random_model(config);
    const std::vector<TokenIds> prompts{{5, 6, 7, 8, 9, 10}, {11}, {20, 21, 22}};
    GenerationOptions options;
    options.max_new_tokens = 12;
    options.eos_token_ids.emplace();
    const GenerationResult together = generate(model, exec, prompts, options);
    CHECK(together.prompt_tokens == 10);
    CHECK(together.steps == 11);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const GenerationResult alone = generate(model, exec, std::span(&prompts[i], 1), options);
      CHECK(together.ids[i] == alone.ids[0]);
    }
  }
}

TEST_CASE("generation ends at the end token, and when the caller says so") {
  ExecContext exec;
  const LanguageModel model = random_model(small_mamba);
  const std::vector<TokenIds> prompts{{1, 2, 3}};
  GenerationOptions options;
  options.max_new_tokens = 10;
  options.eos_token_ids.emplace();
  const TokenIds all = generate(model, exec, prompts, options).ids[0];
  REQUIRE(all.size() == 10);
  options.eos_token_ids = {all[4]};
  const TokenIds ended = generate(model, exec, prompts, options).ids[0];
  CHECK(ended.back() == all[4]);
  CHECK(ended.size() <= 5);
  options.eos_token_ids.emplace();
  int seen = 0;
  options.on_token = [&](std::size_t, std::int32_t) { return ++seen < 3; };
  CHECK(generate(model, exec, prompts, options).ids[0].size() == 3);
  options.max_new_tokens = 0;
  CHECK(generate(model, exec, prompts, options).ids[0].empty());
}

TEST_CASE("inputs that contradict each other are refused") {
  ExecContext exec;
  const LanguageModel model = random_model(small_mamba);
  const OwnedTensor ids = ids_of(2, 4, 50);
  ForwardInput input;
  CHECK_THROWS_WITH_AS(model.forward(exec, input), "forward: give either input_ids or inputs_embeds", Error);
  input.input_ids = ids;
  input.attention_mask = ids->slice(1, 0, 3);
  CHECK_THROWS_WITH_AS(model.forward(exec, input),
                       "forward: attention_mask is int64 (2, 3), but must have shape (2, 4)", Error);
  input.attention_mask = Tensor();
  ModelCache cache = model.make_cache(3);
  input.cache = &cache;
  CHECK_THROWS_WITH_AS(model.forward(exec, input), "forward: the cache has batch 3, but the input has 2",
                       Error);
  input.cache = nullptr;
  ids->data<std::int64_t>()[3] = 50;
  CHECK_THROWS_WITH_AS(model.forward(exec, input),
                       "forward: input_ids holds 50 at (0, 3), but must hold values from 0 to 49", Error);
  const std::vector<TokenIds> empty_prompt{{}};
  CHECK_THROWS_WITH_AS(generate(model, exec, empty_prompt, {}),
                       "generate: a prompt is empty; start with the bos token if there is no text", Error);
  const std::vector<TokenIds> outside{{50}};
  CHECK_THROWS_WITH_AS(generate(model, exec, outside, {}),
                       "generate: token 50 is outside the vocabulary of 50", Error);
}

TEST_CASE("a checkpoint in mamba_ssm's layout loads, with padded rows; what is missing is named") {
  const LanguageModelConfig config = parse_model_config(small_mamba2, "test");
  const auto& mixer = std::get<Mamba2Config>(config.mixer);
  std::vector<NamedTensor> tensors;
  ParameterMap keep;
  const auto add = [&](const std::string& name, const Parameter& parameter) {
    keep[name] = parameter;
    tensors.push_back({name, parameter.tensor});
  };
  add("backbone.embedding.weight", initial_embedding(64, 16, 0.1, 1));  // more rows than the vocabulary of 50
  add("lm_head.weight", initial_embedding(64, 16, 0.1, 2));
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "backbone.layers." + std::to_string(layer) + ".";
    add(prefix + "norm.weight", filled({16}, 1.0f));
    add(prefix + "norm.bias", filled({16}, 0.0f));
    for (const auto& [name, parameter] : initial_parameters(mixer, 5))
      add(prefix + "mixer." + name, parameter);
  }
  add("backbone.norm_f.weight", filled({16}, 1.0f));
  add("backbone.norm_f.bias", filled({16}, 0.0f));

  const test::TemporaryFolder folder;
  folder.write("config.json", small_mamba2);
  save_safetensors(folder.path() / "model.safetensors", tensors);
  ExecContext exec;
  const OwnedTensor ids = ids_of(1, 4, 45);
  ForwardInput input;
  input.input_ids = ids;
  CHECK(LanguageModel::load(folder.path()).forward(exec, input).logits->shape() == Dims{1, 4, 50});

  std::erase_if(tensors, [](const NamedTensor& t) { return t.name == "backbone.layers.1.mixer.dt_bias"; });
  save_safetensors(folder.path() / "model.safetensors", tensors);
  test::expect_error(ErrorCode::not_found, {"backbone.layers.1.mixer.dt_bias", "(4)"},
                     [&] { LanguageModel::load(folder.path()); });
}
