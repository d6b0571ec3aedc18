// Tokenizers, and what the bundled models say.
#include <nlohmann/json.hpp>

#include "models/src/json.hpp"
#include "ophis/models/generation.hpp"
#include "ophis/models/tokenizer.hpp"
#include "tests/goldens/golden_files.hpp"
#include "tests/support/test_data.hpp"

using namespace ophis;

namespace {

const std::filesystem::path sample_models = std::filesystem::path(OPHIS_SOURCE_DIR) / "examples" / "models";

void check_sample(const LanguageModel& model, const Tokenizer& tokenizer, const nlohmann::json& entry) {
  const TokenIds prompt = tokenizer.encode(entry.at("prompt").get<std::string>());
  CHECK(prompt == entry.at("prompt_ids").get<TokenIds>());
  const auto want = entry.at("ids").get<TokenIds>();

  ExecContext exec(test::device());
  GenerationOptions options;
  options.max_new_tokens = static_cast<std::int64_t>(want.size() - prompt.size());
  options.eos_token_ids.emplace();  // the continuations run over the end of a text
  const GenerationResult result = generate(model, exec, std::vector<TokenIds>{prompt}, options);
  TokenIds ids = prompt;
  ids.insert(ids.end(), result.ids[0].begin(), result.ids[0].end());
  CHECK(ids == want);
  CHECK(tokenizer.decode(ids) == entry.at("text").get<std::string>());

  const OwnedTensor input_ids(DType::int64, {1, static_cast<std::int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), input_ids->data<std::int64_t>());
  ForwardInput input;
  input.input_ids = input.labels = input_ids;
  input.logits_to_keep = 1;
  const ForwardOutput output = model.forward(exec, input);
  CHECK(std::fabs(*output.loss - entry.at("mean_nll_of_ids").get<double>()) <= 2e-5);
  const OwnedTensor logits = test::to_host(output.logits);
  const auto first = entry.at("last_logits_first8").get<std::vector<float>>();
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(std::fabs(logits->data<float>()[i] - first[i]) <= 1e-4f);
  }
}

}  // namespace

TEST_CASE("goldens: tokenizers") {
  std::map<std::string, std::optional<Tokenizer>> tokenizers;
  tokenizers["tiny"] = Tokenizer::from_file(sample_models / "mamba-tiny");
  if (const auto file = test::find_test_data("tokenizer/gpt-neox-20b-tokenizer.json")) {
    tokenizers["gpt-neox-20b"] = Tokenizer::from_file(*file);
  }
  int skipped = 0;
  const nlohmann::json texts = read_json_file(test::goldens_folder() / "tokenizer.json");
  for (const nlohmann::json& entry : texts) {
    const auto& tokenizer = tokenizers[entry.at("tokenizer").get<std::string>()];
    if (!tokenizer) {
      ++skipped;
      continue;
    }
    const auto text = entry.at("text").get<std::string>();
    INFO(entry.at("tokenizer") << ": " << text);
    const auto ids = entry.at("ids").get<TokenIds>();
    CHECK(tokenizer->encode(text) == ids);
    CHECK(tokenizer->decode(ids) == entry.at("decoded").get<std::string>());
    CHECK(tokenizer->decode(ids, true) == entry.at("decoded_skip_special").get<std::string>());
  }
  if (skipped > 0) MESSAGE(skipped, " texts skipped: their tokenizer is not in OPHIS_TEST_DATA");
}

TEST_CASE("goldens: the bundled models continue the prompts") {
  const nlohmann::json samples = read_json_file(test::goldens_folder() / "sample-models.json");
  for (const auto& sample : samples.items()) {
    const std::string& name = sample.key();
    const LanguageModel model = LanguageModel::load(
        sample_models / name, {.dtype = DType::float32, .device = test::device(), .progress = {}});
    const Tokenizer tokenizer = Tokenizer::from_file(sample_models / name);
    for (const nlohmann::json& entry : sample.value()) {
      INFO(name << ": " << entry.at("prompt"));
      check_sample(model, tokenizer, entry);
    }
  }
}
