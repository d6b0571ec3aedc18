// Whole models against what Hugging Face transformers computes from the same checkpoints.
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/src/json.hpp"
#include "ophis/models/generation.hpp"
#include "ophis/ops/argmax.hpp"
#include "tests/goldens/golden_files.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;
using test::largest_difference;

namespace {

constexpr double tolerance = 2e-5;  // absolute, in float32

class ModelGolden {
 public:
  explicit ModelGolden(const std::filesystem::path& folder)
      : m_folder(folder),
        m_golden(Checkpoint::open(folder / "golden.safetensors")),
        m_model(LanguageModel::load(folder,
                                    {.dtype = DType::float32, .device = test::device(), .progress = {}})) {}

  void check() {
    for (const std::string& name : m_golden.names()) {
      INFO(name);
      if (name.starts_with("logits.prefix")) check_prefix(std::stoll(name.substr(13)), m_golden.tensor(name));
    }
    check_forward();
    check_padded();
    check_embeds();
    check_generation();
    check_pieces();
  }

 private:
  ForwardInput whole() const {
    ForwardInput input;
    input.input_ids = m_golden.tensor("input_ids");
    return input;
  }

  void check_forward() {
    ForwardInput input = whole();
    input.labels = input.input_ids;
    input.output_hidden_states = true;
    const ForwardOutput output = m_model.forward(m_exec, input);
    CHECK(largest_difference(output.logits, m_golden.tensor("logits")) <= tolerance);
    CHECK(std::fabs(*output.loss - Elements(m_golden.tensor("loss").reshape({1}))(0)) <= tolerance);
    for (std::size_t i = 0; i < output.hidden_states.size(); ++i) {
      INFO("hidden state " << i);
      CHECK(largest_difference(output.hidden_states[i],
                               m_golden.tensor("hidden_states." + std::to_string(i))) <= tolerance);
    }
    CHECK_FALSE(m_golden.contains("hidden_states." + std::to_string(output.hidden_states.size())));
    input = whole();
    input.logits_to_keep = 1;
    CHECK(largest_difference(m_model.forward(m_exec, input).logits, m_golden.tensor("logits.keep1")) <=
          tolerance);
  }

  void check_prefix(std::int64_t length, const Tensor& want) {
    ForwardInput input;
    input.input_ids = m_golden.tensor("input_ids").slice(1, 0, length);
    CHECK(largest_difference(m_model.forward(m_exec, input).logits, want) <= tolerance);
  }

  void check_padded() {
    ForwardInput input;
    input.input_ids = m_golden.tensor("padded_input_ids");
    input.attention_mask = m_golden.tensor("attention_mask");
    const ForwardOutput output = m_model.forward(m_exec, input);
    const OwnedTensor logits = test::to_host(output.logits);
    const Tensor want = m_golden.tensor("logits.padded");
    const Elements mask(input.attention_mask);
    for (std::int64_t b = 0; b < want.extent(0); ++b) {
      for (std::int64_t l = 0; l < want.extent(1); ++l) {
        if (mask(b, l) == 0) continue;
        CHECK(largest_difference(logits->select(0, b).select(0, l), want.select(0, b).select(0, l)) <=
              tolerance);
      }
    }
  }

  void check_embeds() {
    ForwardInput input;
    input.inputs_embeds = m_golden.tensor("inputs_embeds");
    CHECK(largest_difference(m_model.forward(m_exec, input).logits,
                             m_golden.tensor("logits.inputs_embeds")) <= tolerance);
  }

  void check_generation() {
    const Tensor want = m_golden.tensor("generate.greedy");
    const auto* const mamba2 = std::get_if<Mamba2Config>(&m_model.config().mixer);
    if (mamba2 && (mamba2->dt_min > 0.0 || std::isfinite(mamba2->dt_max)))
      return check_steps_without_limits(want);
    const Elements ids(want);
    std::vector<TokenIds> prompts(static_cast<std::size_t>(want.extent(0)));
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      for (std::int64_t l = 0; l < prompt_length; ++l)
        prompts[b].push_back(static_cast<std::int32_t>(ids(b, l)));
    }
    GenerationOptions options;
    options.max_new_tokens = want.extent(1) - prompt_length;
    options.eos_token_ids.emplace();  // the goldens run over the end of a text
    const GenerationResult result = generate(m_model, m_exec, prompts, options);
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      for (std::int64_t i = 0; i < options.max_new_tokens; ++i) {
        CHECK(result.ids[b][static_cast<std::size_t>(i)] ==
              static_cast<std::int32_t>(ids(b, prompt_length + i)));
      }
    }
  }

  /// transformers' one-step update does not clamp dt to time_step_limit, its forward does; the golden
  /// continuation mixes both. So the prompt goes through the model, and the steps through one without limits.
  void check_steps_without_limits(const Tensor& want) {
    const test::TemporaryFolder folder;
    nlohmann::json config = read_json_file(m_folder / "config.json");
    config.erase("time_step_limit");
    std::ofstream(folder.path() / "config.json") << config;
    std::filesystem::copy(m_folder / "model.safetensors", folder.path());
    const LanguageModel stepper = LanguageModel::load(
        folder.path(), {.dtype = DType::float32, .device = test::device(), .progress = {}});

    const std::int64_t batch = want.extent(0);
    ModelCache cache = m_model.make_cache(batch);
    ForwardInput prompt;
    prompt.input_ids = want.slice(1, 0, prompt_length);
    prompt.cache = &cache;
    prompt.logits_to_keep = 1;
    const ForwardOutput output = m_model.forward(m_exec, prompt);
    const Tensor logits = output.logits->select(1, 0);
    const OwnedTensor next(DType::int64, {batch}, test::device());
    for (std::int64_t l = prompt_length; l < want.extent(1); ++l) {
      if (l > prompt_length) stepper.step(m_exec, next, cache, logits);
      argmax(m_exec, {logits, next});
      m_exec.fence();
      CHECK(largest_difference(next, want.select(1, l)) == 0.0);
    }
  }

  /// The whole sequence through a cache, in pieces and single steps, gives the same logits.
  void check_pieces() {
    const Tensor ids = m_golden.tensor("input_ids");
    const Tensor want = m_golden.tensor("logits");
    const std::int64_t batch = ids.extent(0), seqlen = ids.extent(1);
    ModelCache cache = m_model.make_cache(batch);
    const OwnedTensor logits(DType::float32, {batch, want.extent(2)}, test::device());
    ForwardInput input;
    input.cache = &cache;
    for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 5}, {5, 6}, {6, seqlen - 8}}) {
      input.input_ids = ids.slice(1, begin, end);
      CHECK(largest_difference(m_model.forward(m_exec, input).logits, want.slice(1, begin, end)) <=
            tolerance);
    }
    for (std::int64_t l = seqlen - 8; l < seqlen; ++l) {
      const OwnedTensor next(DType::int64, {batch}, test::device());
      copy(m_exec, ids.select(1, l), next);
      m_model.step(m_exec, next, cache, logits);
      m_exec.fence();
      CHECK(largest_difference(logits, want.select(1, l)) <= tolerance);
    }
    CHECK(cache.seqlen() == seqlen);
  }

  static constexpr std::int64_t prompt_length = 10;

  std::filesystem::path m_folder;
  Checkpoint m_golden;
  LanguageModel m_model;
  ExecContext m_exec{test::device()};
};

}  // namespace

TEST_CASE("goldens: models") {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::goldens_folder() / "models")) {
    if (!std::filesystem::exists(entry.path() / "golden.safetensors")) continue;
    INFO(entry.path().string());
    ModelGolden(entry.path()).check();
    ++cases;
  }
  CHECK(cases > 0);
}
