#include "ophis/models/cache_file.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "models/src/json.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "tests/support/checkpoint_files.hpp"
#include "tests/support/device.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;

namespace {

constexpr const char* small_mamba =
    R"({"model_type": "mamba", "vocab_size": 50, "hidden_size": 16, "state_size": 4,
    "num_hidden_layers": 2, "time_step_rank": 2})";
constexpr const char* small_mamba2 = R"({"d_model": 16, "n_layer": 2, "vocab_size": 50,
    "ssm_cfg": {"layer": "Mamba2", "headdim": 8, "d_state": 8, "ngroups": 2}})";

LanguageModel random_model(const char* json, DType dtype = DType::float32) {
  return LanguageModel::random(parse_model_config(json, "test"), dtype, 3, test::device());
}

bool same_states(const ModelCache& a, const ModelCache& b) {
  const auto same = [](const Tensor& x, const Tensor& y) {
    const OwnedTensor left = test::to_host(x), right = test::to_host(y);
    return left->bytes() == right->bytes() && std::memcmp(left->raw(), right->raw(), left->bytes()) == 0;
  };
  bool all = a.seqlen() == b.seqlen();
  for (std::int64_t i = 0; i < a.layers(); ++i) {
    all = all && same(a.layer(i).conv_memory, b.layer(i).conv_memory) && same(a.layer(i).ssm, b.layer(i).ssm);
  }
  return all;
}

const std::vector<TokenIds> texts{{5, 6, 7}, {8, 9, 10}};

/// States that have seen the texts.
ModelCache used_cache(const LanguageModel& model, ExecContext& exec, DType state_dtype = DType::float32) {
  ModelCache cache = model.make_cache(2, state_dtype);
  GenerationOptions options;
  options.cache = &cache;
  options.max_new_tokens = 0;
  generate(model, exec, texts, options);
  return cache;
}

/// The tensors of a file, to be written once more with changes.
struct Draft {
  explicit Draft(const std::filesystem::path& path)
      : checkpoint(Checkpoint::open(path)), metadata(checkpoint.metadata()) {
    for (const std::string& name : checkpoint.names()) tensors.push_back({name, checkpoint.tensor(name)});
  }
  NamedTensor& tensor(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const NamedTensor& t) { return t.name == name; });
  }

  Checkpoint checkpoint;
  std::map<std::string, std::string> metadata;
  std::vector<NamedTensor> tensors;
};

}  // namespace

TEST_CASE("states come back from a file bit for bit, and generation goes on as it would have") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "states";
  ExecContext exec(test::device());
  for (const char* const json : {small_mamba, small_mamba2}) {
    for (const auto& [dtype, state_dtype] : {std::pair{DType::float32, DType::float32},
                                             {DType::bfloat16, DType::float32},
                                             {DType::bfloat16, DType::bfloat16}}) {
      const LanguageModel model = random_model(json, dtype);
      ModelCache cache = used_cache(model, exec, state_dtype);
      save_cache(exec, path, model, cache, texts);
      ModelCache loaded = model.make_cache(2, state_dtype);
      CHECK_FALSE(same_states(cache, loaded));
      CHECK(load_cache(exec, path, model, loaded) == texts);
      CHECK(loaded.seqlen() == 3);
      CHECK(same_states(cache, loaded));

      GenerationOptions options;
      options.max_new_tokens = 8;
      options.sampling.temperature = 1.0;
      const std::vector<TokenIds> more{{1}, {2}};
      options.cache = &cache;
      const std::vector<TokenIds> went_on = generate(model, exec, more, options).ids;
      options.cache = &loaded;
      CHECK(generate(model, exec, more, options).ids == went_on);
      CHECK(same_states(cache, loaded));
    }
  }
  // Without tokens, over an older file.
  const LanguageModel model = random_model(small_mamba);
  ModelCache cache = used_cache(model, exec);
  save_cache(exec, path, model, cache);
  ModelCache loaded = model.make_cache(2);
  CHECK(load_cache(exec, path, model, loaded).empty());
  CHECK(same_states(cache, loaded));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("states of another model, batch or dtype are refused") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "states.safetensors";
  ExecContext exec(test::device());
  const LanguageModel model = random_model(small_mamba);
  const ModelCache cache = used_cache(model, exec);
  save_cache(exec, path, model, cache, texts);
  const auto refused = [&](const LanguageModel& other, ModelCache into, std::string_view text) {
    const ModelCache before = [&] {
      ModelCache copy = other.make_cache(into.batch(), into.layer(0).ssm->dtype());
      copy.copy_from(exec, into);
      return copy;
    }();
    test::expect_error(ErrorCode::invalid_argument, {"states.safetensors", text},
                       [&] { load_cache(exec, path, other, into); });
    CHECK(same_states(into, before));
  };
  refused(model, model.make_cache(1),
          "layers.0.conv is float32 (2, 3, 32), but the cache's is float32 (1, 3");
  const LanguageModel other = random_model(small_mamba2);
  refused(other, other.make_cache(2), "of another model: model.d_state is \"4\" there, but \"8\" here");
  const LanguageModel half = random_model(small_mamba, DType::bfloat16);
  refused(half, half.make_cache(2), "model.dtype is \"float32\" there, but \"bfloat16\" here");
  save_cache(exec, path, half, used_cache(half, exec), texts);
  refused(half, half.make_cache(2, DType::bfloat16), "layers.0.ssm is float32");

  test::expect_error(ErrorCode::invalid_argument, {"the cache's layers.0.conv is"},
                     [&] { save_cache(exec, path, other, cache); });
  test::expect_error(ErrorCode::invalid_argument, {"tokens are given for 1 sequences"},
                     [&] { save_cache(exec, path, model, cache, std::vector<TokenIds>{{1}}); });
  test::expect_error(ErrorCode::invalid_argument, {"token 50 is outside"}, [&] {
    save_cache(exec, path, model, cache, std::vector<TokenIds>{{1}, {50}});
  });
  test::expect_error(ErrorCode::not_found, {"nowhere"},
                     [&] { save_cache(exec, folder.path() / "nowhere" / "x", model, cache); });
}

TEST_CASE("hostile files of states are refused, and leave the states as they were") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "good.safetensors", bad = folder.path() / "bad.safetensors";
  ExecContext exec(test::device());
  const LanguageModel model = random_model(small_mamba);
  const ModelCache cache = used_cache(model, exec);
  save_cache(exec, path, model, cache, texts);
  ModelCache target = model.make_cache(2);
  const ModelCache untouched = model.make_cache(2);
  const auto refused = [&](ErrorCode code, std::string_view text) {
    test::expect_error(code, {"bad.safetensors", text}, [&] { load_cache(exec, bad, model, target); });
    CHECK(same_states(target, untouched));
  };
  const auto rewritten = [&](auto change) {
    Draft draft(path);
    change(draft);
    save_safetensors(bad, draft.tensors, draft.metadata);
  };
  refused(ErrorCode::not_found, "bad");
  const std::string good = read_text_file(path);
  for (const std::size_t length : {0u, 7u, 8u, 100u, 1000u}) {
    folder.write("bad.safetensors", good.substr(0, length));
    refused(ErrorCode::corrupt_data, "");
  }
  folder.write("bad.safetensors", good + "x");
  refused(ErrorCode::corrupt_data, "");
  rewritten([](Draft& d) { d.metadata.erase("format"); });
  refused(ErrorCode::corrupt_data, "no file of a model's states");
  rewritten([](Draft& d) { d.metadata["version"] = "2"; });
  refused(ErrorCode::unsupported, "version \"2\"");
  for (const char* const seqlen : {"-1", "", "3x", "9223372036854775807", "99999999999999999999"}) {
    rewritten([&](Draft& d) { d.metadata["seqlen"] = seqlen; });
    refused(ErrorCode::corrupt_data, "seqlen is");
  }
  rewritten([](Draft& d) { d.metadata["model.n_layer"] = "3"; });
  refused(ErrorCode::invalid_argument, "model.n_layer");
  rewritten([](Draft& d) { d.metadata.erase("model.vocab_size"); });
  refused(ErrorCode::invalid_argument, "model.vocab_size");
  rewritten([](Draft& d) { d.tensor("layers.1.ssm").name = "layers.2.ssm"; });
  refused(ErrorCode::corrupt_data, "there is no tensor layers.1.ssm");
  rewritten([](Draft& d) { d.tensors.push_back({"extra", d.tensor("tokens.0").tensor}); });
  refused(ErrorCode::corrupt_data, "\"extra\" does not belong");
  rewritten([](Draft& d) { std::swap(d.tensor("layers.0.ssm").tensor, d.tensor("tokens.0").tensor); });
  refused(ErrorCode::invalid_argument, "layers.0.ssm is int32");
  rewritten([](Draft& d) {
    Tensor& tensor = d.tensor("layers.0.ssm").tensor;
    tensor = tensor.reshape({tensor.count()});
  });
  refused(ErrorCode::invalid_argument, "layers.0.ssm is float32 (");
  rewritten([](Draft& d) { d.tensor("tokens.1").name = "tokens.2"; });
  refused(ErrorCode::corrupt_data, "does not belong");
  rewritten([](Draft& d) {
    d.tensors.erase(std::find_if(d.tensors.begin(), d.tensors.end(),
                                 [](const NamedTensor& t) { return t.name == "tokens.1"; }));
  });
  refused(ErrorCode::corrupt_data, "tokens of 1 sequences");
  for (const std::int32_t id : {-1, 50}) {
    rewritten([&](Draft& d) {
      static std::int32_t ids[3];
      ids[2] = id;
      d.tensor("tokens.0").tensor = Tensor(ids, DType::int32, {3});
    });
    refused(ErrorCode::corrupt_data, "outside the vocabulary");
  }
  rewritten([](Draft&) {});
  CHECK(load_cache(exec, bad, model, target) == texts);
  CHECK(same_states(target, cache));
}
