#include "ophis/models/generation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "models/src/stop_strings.hpp"
#include "tests/support/device.hpp"
#include "tests/support/expect_error.hpp"

using namespace ophis;

namespace {

/// A trained model with its tokenizer, so that there is text to sample.
struct Trained {
  explicit Trained(const char* name)
      : folder(std::filesystem::path(OPHIS_SOURCE_DIR) / "examples" / "models" / name),
        exec(test::device()),
        model(LanguageModel::load(folder, {DType::float32, test::device(), {}})),
        tokenizer(Tokenizer::from_file(folder)) {}

  GenerationResult run(const std::vector<TokenIds>& prompts, const GenerationOptions& options) {
    return generate(model, exec, prompts, options);
  }
  std::vector<TokenIds> encode(const std::vector<std::string>& texts) const {
    std::vector<TokenIds> ids;
    for (const std::string& text : texts) ids.push_back(tokenizer.encode(text));
    return ids;
  }

  std::filesystem::path folder;
  ExecContext exec;
  LanguageModel model;
  Tokenizer tokenizer;
};

constexpr const char* model_names[] = {"mamba-tiny", "mamba2-tiny"};

GenerationOptions sampling_options(std::int64_t max_new_tokens) {
  GenerationOptions options;
  options.max_new_tokens = max_new_tokens;
  options.eos_token_ids.emplace();
  options.sampling.temperature = 0.9;
  options.sampling.top_p = 0.95;
  options.sampling.seed = 7;
  return options;
}

}  // namespace

TEST_CASE("generation is greedy unless asked to sample, and by top-k 1") {
  for (const char* const name : model_names) {
    Trained trained(name);
    const std::vector<TokenIds> prompts = trained.encode({"JULIET:"});
    GenerationOptions greedy;
    greedy.max_new_tokens = 16;
    GenerationOptions one = greedy;
    one.sampling.temperature = 2.0;
    one.sampling.top_k = 1;
    CHECK(trained.run(prompts, greedy).ids == trained.run(prompts, one).ids);
  }
}

TEST_CASE("a seed gives the same text again, another seed another text") {
  for (const char* const name : model_names) {
    Trained trained(name);
    const std::vector<TokenIds> prompts = trained.encode({"HAMLET:"});
    GenerationOptions options = sampling_options(24);
    const std::vector<TokenIds> first = trained.run(prompts, options).ids;
    CHECK(trained.run(prompts, options).ids == first);
    options.sampling.seed = 8;
    CHECK(trained.run(prompts, options).ids != first);
  }
}

TEST_CASE("a sampled text does not depend on the batch around it") {
  for (const char* const name : model_names) {
    Trained trained(name);
    const std::vector<TokenIds> prompts =
        trained.encode({"ROMEO:\n", "O", "To be, or not to be", "ROMEO:\n"});
    GenerationOptions options = sampling_options(10);
    options.sampling.top_k = 100;
    options.sampling.min_p = 0.01;
    options.sampling.repetition_penalty = 1.2;
    options.sampling.presence_penalty = 0.3;
    options.sampling.frequency_penalty = 0.1;
    const GenerationResult together = trained.run(prompts, options);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      CHECK(together.ids[i] == trained.run({prompts[i]}, options).ids[0]);
    }
    CHECK(together.ids[0] == together.ids[3]);  // the same prompt and seed

    options.num_return_sequences = 3;
    const GenerationResult several = trained.run({prompts[1], prompts[2]}, options);
    REQUIRE(several.ids.size() == 6);
    for (const std::size_t of : {0u, 1u}) {
      const GenerationResult alone = trained.run({prompts[1 + of]}, options);
      for (std::size_t i = 0; i < 3; ++i) CHECK(several.ids[3 * of + i] == alone.ids[i]);
      CHECK(alone.ids[0] == together.ids[1 + of]);
      CHECK(alone.ids[1] != alone.ids[0]);
      CHECK(alone.ids[2] != alone.ids[0]);
      CHECK(alone.ids[2] != alone.ids[1]);
    }
  }
}

TEST_CASE("generation goes on from states as if it had never stopped") {
  for (const char* const name : model_names) {
    Trained trained(name);
    const TokenIds prompt = trained.tokenizer.encode("First Citizen:\n");
    GenerationOptions options = sampling_options(24);
    options.sampling.repetition_penalty = 1.3;
    const TokenIds whole = trained.run({prompt}, options).ids[0];

    ModelCache cache = trained.model.make_cache(1);
    options.cache = &cache;
    options.max_new_tokens = 10;
    TokenIds pieces = trained.run({prompt}, options).ids[0];
    const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
    CHECK(cache.seqlen() == prompt_tokens + 9);
    options.history = {prompt};
    options.history[0].insert(options.history[0].end(), pieces.begin(), pieces.end() - 1);
    options.max_new_tokens = 14;
    const TokenIds rest = trained.run({{pieces.back()}}, options).ids[0];
    CHECK(cache.seqlen() == prompt_tokens + 23);
    pieces.insert(pieces.end(), rest.begin(), rest.end());
    CHECK(pieces == whole);
  }
}

TEST_CASE("a large repetition penalty lets no token come twice") {
  Trained trained("mamba2-tiny");
  const TokenIds prompt = trained.tokenizer.encode("ROMEO: ROMEO:");
  GenerationOptions options;
  options.max_new_tokens = 40;
  options.eos_token_ids.emplace();
  options.sampling.repetition_penalty = 1e6;
  const TokenIds ids = trained.run({prompt}, options).ids[0];
  std::set<std::int32_t> seen(prompt.begin(), prompt.end());
  for (const std::int32_t id : ids) CHECK(seen.insert(id).second);
  // A presence penalty knows nothing of the prompt.
  options.sampling = {};
  options.sampling.presence_penalty = 1e6;
  const TokenIds present = trained.run({prompt}, options).ids[0];
  CHECK(std::set<std::int32_t>(present.begin(), present.end()).size() == present.size());
  CHECK(present[0] == trained.run({prompt}, {}).ids[0][0]);
}

TEST_CASE("log-probabilities are those of the model's softmax") {
  Trained trained("mamba-tiny");
  const TokenIds prompt = trained.tokenizer.encode("KING HENRY:");
  GenerationOptions options = sampling_options(6);
  options.sampling.repetition_penalty = 1.5;
  options.logprobs = true;
  options.top_logprobs = 3;
  const GenerationResult result = trained.run({prompt}, options);
  REQUIRE(result.logprobs.at(0).size() == 6);
  REQUIRE(result.top_logprobs.at(0).size() == 6);
  const OwnedTensor ids(DType::int64, {1, static_cast<std::int64_t>(prompt.size() + 6)});
  std::copy(result.ids[0].begin(), result.ids[0].end(),
            std::copy(prompt.begin(), prompt.end(), ids->data<std::int64_t>()));
  ForwardInput input;
  input.input_ids = ids;
  const OwnedTensor logits = test::to_host(trained.model.forward(trained.exec, input).logits);
  for (std::size_t i = 0; i < 6; ++i) {
    const Tensor row = logits->select(0, 0).select(0, static_cast<std::int64_t>(prompt.size() + i) - 1);
    double sum = 0.0;
    for (std::int64_t v = 0; v < row.count(); ++v) sum += std::exp(static_cast<double>(row.data<float>()[v]));
    const double want = static_cast<double>(row.data<float>()[result.ids[0][i]]) - std::log(sum);
    CHECK(static_cast<double>(result.logprobs[0][i]) == doctest::Approx(want).epsilon(1e-4));
    // The most probable ones, in this order.
    const std::vector<TokenLogprob>& top = result.top_logprobs[0][i];
    REQUIRE(top.size() == 3);
    std::vector<float> ordered(row.data<float>(), row.data<float>() + row.count());
    std::sort(ordered.begin(), ordered.end(), std::greater<>());
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(row.data<float>()[top[k].id] == doctest::Approx(ordered[k]).epsilon(1e-4));
      CHECK(static_cast<double>(top[k].logprob) ==
            doctest::Approx(static_cast<double>(ordered[k]) - std::log(sum)).epsilon(1e-4));
    }
  }
}

TEST_CASE("top log-probabilities are of each sequence, as far as it goes") {
  Trained trained("mamba2-tiny");
  const std::vector<TokenIds> prompts = trained.encode({"ROMEO:\n\t", "Enter"});
  GenerationOptions options;
  options.max_new_tokens = 5;
  options.eos_token_ids.emplace();
  options.top_logprobs = trained.model.config().vocab_size;
  const GenerationResult all = trained.run(prompts, options);
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t k = 0; k < 5; ++k) {
      const std::vector<TokenLogprob>& tokens = all.top_logprobs.at(i).at(k);
      CHECK(tokens[0].id == all.ids[i][k]);  // greedy
      double sum = 0.0;
      for (const TokenLogprob& token : tokens) sum += std::exp(static_cast<double>(token.logprob));
      CHECK(sum == doctest::Approx(1.0).epsilon(1e-4));
    }
  }
  options.eos_token_ids = {all.ids[0][2]};
  options.top_logprobs = 1;
  const GenerationResult ended = trained.run({prompts[0]}, options);
  CHECK(ended.top_logprobs[0].size() == ended.ids[0].size());
  CHECK(trained.run({prompts[0]}, {}).top_logprobs.empty());
}

TEST_CASE("stop strings end a text wherever its tokens begin and end") {
  for (const char* const name : model_names) {
    Trained trained(name);
    const std::vector<TokenIds> prompts = trained.encode({"ROMEO:\n\t", "JULIET:\n\t"});
    GenerationOptions options;
    options.max_new_tokens = 24;
    options.tokenizer = &trained.tokenizer;
    options.eos_token_ids.emplace();
    const GenerationResult whole = trained.run(prompts, options);
    REQUIRE(whole.texts.size() == 2);
    CHECK(whole.texts[0] == trained.tokenizer.decode(whole.ids[0], true));
    CHECK(whole.finished == std::vector{FinishReason::length, FinishReason::length});
    const std::string& text = whole.texts[0];
    for (const std::size_t length : {1u, 2u, 5u, 17u}) {
      for (std::size_t at = 0; at + length < text.size() / 2; at += 19) {
        const std::string stop = text.substr(at, length);
        options.stop = {"never said", stop};
        std::vector<std::string> told(2);
        options.on_text = [&](std::size_t sequence, std::string_view piece) {
          told.at(sequence) += piece;
          return true;
        };
        const GenerationResult result = trained.run(prompts, options);
        INFO("stop: ", stop);
        CHECK(result.finished[0] == FinishReason::stop);
        CHECK(result.texts[0] == text.substr(0, text.find(stop)));
        // The last token is the one that completed the string.
        const TokenIds before(result.ids[0].begin(), result.ids[0].end() - 1);
        CHECK(trained.tokenizer.decode(result.ids[0], true).find(stop) != std::string::npos);
        CHECK(trained.tokenizer.decode(before, true).find(stop) == std::string::npos);
        const std::size_t in_other = whole.texts[1].find(stop);
        CHECK(result.texts[1] == whole.texts[1].substr(0, in_other));
        CHECK((result.finished[1] == FinishReason::stop) == (in_other != std::string::npos));
        CHECK(told == result.texts);
      }
    }
  }
}

TEST_CASE("text that may be the beginning of a stop string is held back") {
  StopStrings stop({"abac", "\n\n"});
  CHECK(stop.push("xab") == "x");
  CHECK(stop.push("ab") == "ab");
  CHECK(stop.push("a") == "");
  CHECK(stop.push("b") == "ab");
  CHECK(stop.push("y\n") == "aby");
  CHECK(stop.push("z") == "\nz");
  CHECK_FALSE(stop.found());
  CHECK(stop.push("ab\n") == "ab");
  CHECK(stop.flush() == "\n");
  CHECK(stop.push("1aba") == "1");
  CHECK(stop.push("c2\n\n") == "");
  CHECK(stop.found());
  CHECK(stop.push("3") == "");
  CHECK(stop.flush() == "");
  // Of two in one piece the first counts.
  StopStrings both({"late", "early"});
  CHECK(both.push("so early, so late") == "so ");
  StopStrings none({});
  CHECK(none.push("as it is") == "as it is");
}

TEST_CASE("generation says why each sequence ended") {
  Trained trained("mamba2-tiny");
  const std::vector<TokenIds> prompts = trained.encode({"ROMEO:\n", "Enter"});
  GenerationOptions options;
  options.max_new_tokens = 8;
  options.eos_token_ids.emplace();
  const TokenIds ids = trained.run(prompts, options).ids[0];
  options.eos_token_ids = {ids[2]};
  const GenerationResult ended = trained.run({prompts[0]}, options);
  CHECK(ended.finished == std::vector{FinishReason::eos});
  CHECK(ended.texts.empty());
  CHECK(ended.logprobs.empty());
  options.eos_token_ids.emplace();
  options.on_token = [&](std::size_t sequence, std::int32_t id) { return sequence == 0 || id < 0; };
  const GenerationResult cancelled = trained.run(prompts, options);
  CHECK(cancelled.finished == std::vector{FinishReason::cancelled, FinishReason::cancelled});
  CHECK(cancelled.ids[1].size() == 1);
  options.on_token = nullptr;
  options.tokenizer = &trained.tokenizer;
  options.on_text = [](std::size_t, std::string_view) { return false; };
  CHECK(trained.run(prompts, options).finished[0] == FinishReason::cancelled);
}

TEST_CASE("generation refuses options that are out of range, by name") {
  Trained trained("mamba2-tiny");
  const auto refuses = [&](const char* text, auto change) {
    GenerationOptions options;
    options.max_new_tokens = 2;
    change(options);
    test::expect_error(ErrorCode::invalid_argument, {text}, [&] {
      trained.run(std::vector<TokenIds>{{1}, {2}}, options);
    });
  };
  using Options = GenerationOptions;
  const double nan = std::nan("");
  refuses("temperature is -1, but must be", [](Options& o) { o.sampling.temperature = -1; });
  refuses("temperature is nan, but must be", [&](Options& o) { o.sampling.temperature = nan; });
  refuses("top_k is -3, but must be", [](Options& o) { o.sampling.top_k = -3; });
  refuses("top_p is 0, but must be", [](Options& o) { o.sampling.top_p = 0; });
  refuses("top_p is 1.5, but must be", [](Options& o) { o.sampling.top_p = 1.5; });
  refuses("min_p is nan, but must be", [&](Options& o) { o.sampling.min_p = nan; });
  refuses("repetition_penalty is 0, but must be", [](Options& o) { o.sampling.repetition_penalty = 0; });
  refuses("presence_penalty is 1e+300, but", [](Options& o) { o.sampling.presence_penalty = 1e300; });
  refuses("frequency_penalty is nan, but", [&](Options& o) { o.sampling.frequency_penalty = nan; });
  refuses("num_return_sequences is 0, but", [](Options& o) { o.num_return_sequences = 0; });
  refuses("top_logprobs is -1, but must be 0 to 4096", [](Options& o) { o.top_logprobs = -1; });
  refuses("top_logprobs is 4097, but", [](Options& o) { o.top_logprobs = 4097; });
  refuses("stop strings and on_text need a tokenizer", [](Options& o) { o.stop = {"x"}; });
  refuses("a stop string is empty", [&](Options& o) {
    o.tokenizer = &trained.tokenizer;
    o.stop = {"x", ""};
  });
  refuses("histories of 1", [](Options& o) { o.history = {{1}}; });
  refuses("token -5 is outside the vocabulary", [](Options& o) { o.history = {{1}, {-5}}; });
  ModelCache cache = trained.model.make_cache(3);
  refuses("the cache is for 3 sequences, but there are 2 prompts", [&](Options& o) { o.cache = &cache; });
  ModelCache fitting = trained.model.make_cache(2);
  refuses("num_return_sequences must be 1 with a cache", [&](Options& o) {
    o.cache = &fitting;
    o.num_return_sequences = 2;
  });
}
