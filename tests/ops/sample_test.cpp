#include "ophis/ops/sample.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

using Probabilities = std::vector<double>;

/// Settings of all rows. What is not set is not given to the op.
struct Settings {
  std::optional<float> temperature, top_p, min_p, repetition, presence, frequency;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> prompt_counts, counts;
  std::int64_t seed = 0, first_position = 0;
};

/// Draws from many rows of the same logits.
class Draws {
 public:
  Draws(std::vector<float> logits, const Settings& settings, std::int64_t rows) : m_exec(test::device()) {
    const auto vocab = static_cast<std::int64_t>(logits.size());
    m_args.logits = repeated(m_pool.floats(logits), rows);
    const auto set = [&](Tensor& to, const std::optional<float>& value) {
      if (value) to = m_pool.floats(std::vector(static_cast<std::size_t>(rows), *value));
    };
    set(m_args.temperature, settings.temperature);
    set(m_args.top_p, settings.top_p);
    set(m_args.min_p, settings.min_p);
    set(m_args.repetition_penalty, settings.repetition);
    set(m_args.presence_penalty, settings.presence);
    set(m_args.frequency_penalty, settings.frequency);
    if (settings.top_k > 0) m_args.top_k = integers(rows, settings.top_k, 0);
    if (!settings.prompt_counts.empty()) {
      m_args.prompt_counts = repeated(m_pool.integers({vocab}, settings.prompt_counts), rows);
    }
    if (!settings.counts.empty()) {
      m_args.counts = m_pool.poisoned(DType::int32, {rows, vocab});
      for (std::int64_t i = 0; i < rows * vocab; ++i) {
        m_args.counts.data<std::int32_t>()[i] = settings.counts[static_cast<std::size_t>(i % vocab)];
      }
    }
    m_args.seed = integers(rows, settings.seed, 0);
    m_args.sequence = integers(rows, 0, 1);
    m_args.position = integers(rows, settings.first_position, 0);
    m_args.out = integers(rows, 0, 0);
  }

  /// The tokens of all rows; each call is for the next position.
  std::vector<std::int64_t> next() {
    sample(m_exec, m_args);
    m_exec.fence();
    const std::int64_t* const out = m_args.out.data<std::int64_t>();
    return {out, out + m_args.out.count()};
  }
  const SampleArgs& args() const { return m_args; }

 private:
  static Tensor repeated(const Tensor& row, std::int64_t rows) {
    return Tensor(row.raw(), row.dtype(), {rows, row.count()}, {0, 1}, row.device());
  }
  /// first + i * step
  Tensor integers(std::int64_t rows, std::int64_t first, std::int64_t step) {
    const Tensor tensor = m_pool.poisoned(DType::int64, {rows});
    for (std::int64_t i = 0; i < rows; ++i) tensor.data<std::int64_t>()[i] = first + i * step;
    return tensor;
  }

  ExecContext m_exec;
  TensorPool m_pool{0};
  SampleArgs m_args;
};

/// The 0.999 quantile of the chi-square distribution.
double critical_value(std::size_t degrees) {
  constexpr double values[] = {10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12,
                               27.88, 29.59, 31.26, 32.91, 34.53, 36.12, 37.70};
  return values[degrees - 1];
}

/// Pearson's statistic over its critical value: at most 1 for draws from `probabilities`, with a probability
/// of 0.999. Infinite if something impossible was drawn.
double misfit(const std::vector<std::int64_t>& drawn, const Probabilities& probabilities) {
  std::vector<double> counts(probabilities.size(), 0.0);
  for (const std::int64_t token : drawn) ++counts.at(static_cast<std::size_t>(token));
  double statistic = 0.0;
  std::size_t possible = 0;
  for (std::size_t v = 0; v < counts.size(); ++v) {
    const double expected = probabilities[v] * static_cast<double>(drawn.size());
    if (expected == 0.0) {
      if (counts[v] > 0.0) return std::numeric_limits<double>::infinity();
      continue;
    }
    REQUIRE(expected >= 5.0);
    ++possible;
    statistic += (counts[v] - expected) * (counts[v] - expected) / expected;
  }
  REQUIRE(possible >= 2);
  return statistic / critical_value(possible - 1);
}

Probabilities normalised(Probabilities weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

Probabilities softmax(const std::vector<float>& logits, double temperature = 1.0) {
  Probabilities weights;
  for (const float logit : logits) weights.push_back(std::exp(static_cast<double>(logit) / temperature));
  return normalised(weights);
}

/// Only the tokens listed.
Probabilities only(const std::vector<std::size_t>& tokens, const Probabilities& all) {
  Probabilities kept(all.size(), 0.0);
  for (const std::size_t token : tokens) kept[token] = all[token];
  return normalised(kept);
}

// Probabilities of about 0.02, 0.30, 0.11, 0.18, 0.04, 0.01, 0.25, 0.07.
const std::vector<float> logits{-1.2f, 1.5f, 0.5f, 1.0f, -0.5f, -2.0f, 1.3f, 0.1f};

constexpr std::int64_t many = 20000;

}  // namespace

TEST_CASE("sample equals its reference") { test::require_parity("sample"); }

TEST_CASE("sample draws from the distribution of each filter, and not from that of a wrong one") {
  const Probabilities plain = softmax(logits), warm = softmax(logits, 1.7), cold = softmax(logits, 0.6);
  struct Case {
    const char* name;
    Settings settings;
    Probabilities right, wrong;
  };
  std::vector<Case> cases(11);
  cases[0] = {"no filter", {}, plain, softmax(logits, 1.1)};
  cases[1] = {"temperature", {}, warm, plain};
  cases[1].settings.temperature = 1.7f;
  cases[2] = {"top-k", {}, only({1, 6, 3}, plain), only({1, 6, 3, 2}, plain)};
  cases[2].settings.top_k = 3;
  // 0.30 + 0.25 < 0.6 <= 0.30 + 0.25 + 0.18
  cases[3] = {"top-p", {}, only({1, 6, 3}, plain), only({1, 6}, plain)};
  cases[3].settings.top_p = 0.6f;
  // 0.30 * 0.3 lies between 0.07 and 0.11.
  cases[4] = {"min-p", {}, only({1, 6, 3, 2}, plain), only({1, 6, 3, 2, 7}, plain)};
  cases[4].settings.min_p = 0.3f;
  // top-p after temperature: 0.40 + 0.29 + 0.17 (cold) reach 0.8, of the plain ones more are needed.
  cases[5] = {"temperature, top-p", {}, only({1, 6, 3}, cold), only({1, 6, 3, 2}, cold)};
  cases[5].settings.temperature = 0.6f;
  cases[5].settings.top_p = 0.8f;
  // top-p of what top-k leaves: 0.30 + 0.25 of 0.73 reach 0.7; of all they do not.
  cases[6] = {"top-k, top-p", {}, only({1, 6}, plain), only({1, 6, 3}, plain)};
  cases[6].settings.top_k = 3;
  cases[6].settings.top_p = 0.7f;
  // min-p is relative to the largest, whatever the others have left.
  cases[7] = {"top-k, top-p, min-p", {}, only({1, 6, 3}, plain), only({1, 6}, plain)};
  cases[7].settings.top_k = 5;
  cases[7].settings.top_p = 0.95f;
  cases[7].settings.min_p = 0.5f;
  // Penalties: tokens 1 (in the prompt), 4 (drawn twice) and 6 (both).
  std::vector<float> repeated = logits, present = logits;
  repeated[1] /= 1.5f, repeated[4] *= 1.5f, repeated[6] /= 1.5f;
  present[4] -= 0.5f + 2 * 0.25f, present[6] -= 0.5f + 0.25f;
  Settings known;
  known.prompt_counts = {0, 3, 0, 0, 0, 0, 1, 0};
  known.counts = {0, 0, 0, 0, 2, 0, 1, 0};
  cases[8] = {"repetition penalty", known, softmax(repeated), plain};
  cases[8].settings.repetition = 1.5f;
  cases[9] = {"presence and frequency penalty", known, softmax(present), plain};
  cases[9].settings.presence = 0.5f;
  cases[9].settings.frequency = 0.25f;
  // Penalties come first: token 1 is no longer the largest.
  cases[10] = {"repetition penalty, top-k", known, only({1, 3}, softmax(repeated)), only({1, 6}, plain)};
  cases[10].settings.repetition = 1.5f;
  cases[10].settings.top_k = 2;
  for (const Case& c : cases) {
    INFO(c.name);
    const std::vector<std::int64_t> drawn = Draws(logits, c.settings, many).next();
    CHECK(misfit(drawn, c.right) <= 1.0);
    CHECK(misfit(drawn, c.wrong) > 1.0);
  }
}

TEST_CASE("sample draws uniformly from a large vocabulary") {
  // Sixteen runs of equal length, of 3100 tokens whose logits are equal.
  const std::vector<float> flat(49600, 0.25f);
  std::vector<std::int64_t> runs = Draws(flat, {}, 2000).next();
  for (std::int64_t& token : runs) token /= 3100;
  CHECK(misfit(runs, Probabilities(16, 1.0 / 16)) <= 1.0);
  // Of equals top-k and top-p keep the lowest ids.
  Probabilities first(flat.size(), 0.0);
  std::fill_n(first.begin(), 16, 1.0 / 16);
  Settings top_k, top_p;
  top_k.top_k = 16;
  top_p.top_p = 15.5f / 49600.0f;
  CHECK(misfit(Draws(flat, top_k, 2000).next(), first) <= 1.0);
  CHECK(misfit(Draws(flat, top_p, 2000).next(), first) <= 1.0);
}

TEST_CASE("sample draws independently at each position, in each sequence, by each seed") {
  const std::vector<float> four{0.3f, -0.2f, 0.0f, 0.4f};
  const Probabilities of_one = softmax(four);
  Probabilities of_pair;
  for (const double a : of_one) {
    for (const double b : of_one) of_pair.push_back(a * b);
  }
  const auto pairs = [](const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
    std::vector<std::int64_t> result;
    for (std::size_t i = 0; i < a.size(); ++i) result.push_back(4 * a[i] + b[i]);
    return result;
  };
  Draws draws(four, {}, many);
  const auto first = draws.next(), second = draws.next();
  CHECK(*draws.args().position.data<std::int64_t>() == 2);
  CHECK(misfit(pairs(first, second), of_pair) <= 1.0);
  const std::vector<std::int64_t> neighbours(first.begin() + 1, first.end());
  CHECK(misfit(pairs(neighbours, first), of_pair) <= 1.0);
  Settings other_seed;
  other_seed.seed = 1;
  CHECK(misfit(pairs(first, Draws(four, other_seed, many).next()), of_pair) <= 1.0);
  CHECK(misfit(pairs(first, first), of_pair) > 1.0);

  CHECK(Draws(four, {}, many).next() == first);
  Settings later;
  later.first_position = 1;
  CHECK(Draws(four, later, many).next() == second);
  // The first rows of a batch do not know how many there are.
  CHECK(Draws(four, {}, 10).next() == std::vector(first.begin(), first.begin() + 10));
}

TEST_CASE("sample takes the largest logit at temperature 0 and where nothing can be drawn") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Settings greedy;
  greedy.temperature = 0.0f;
  CHECK(Draws({1.0f, 3.0f, 3.0f}, greedy, 1).next()[0] == 1);
  CHECK(Draws({-0.0f, 0.0f}, greedy, 1).next()[0] == 0);
  CHECK(Draws({1.0f, infinity, nan, nan}, {}, 1).next()[0] == 2);
  CHECK(Draws({1.0f, infinity, infinity}, {}, 1).next()[0] == 1);
  CHECK(Draws({-infinity, -infinity}, {}, 1).next()[0] == 0);
  // More is to be kept than is possible.
  Settings settings;
  settings.top_k = 3;
  settings.top_p = 0.999f;
  for (const std::int64_t token :
       Draws({-infinity, 2.0f, -infinity, -infinity, 1.5f}, settings, 100).next()) {
    CHECK((token == 1 || token == 4));
  }
  // Neither the hottest nor the coldest numbers of a float break it.
  for (const float temperature : {2e-38f, 3e38f}) {
    settings.temperature = temperature;
    for (const std::int64_t token : Draws({-3e38f, 3e38f, 0.0f, 1e-38f}, settings, 100).next()) {
      CHECK((temperature > 1.0f ? token >= 0 && token < 4 : token == 1));
    }
  }
}

TEST_CASE("sample counts what it draws") {
  Settings settings;
  settings.temperature = 0.0f;
  settings.presence = 0.0f;
  settings.frequency = 1.0f;
  settings.counts = {0, 0, 0};
  Draws draws({2.5f, 2.0f, 0.75f}, settings, 1);
  std::vector<std::int64_t> drawn;
  for (int i = 0; i < 6; ++i) drawn.push_back(draws.next()[0]);
  CHECK(drawn == std::vector<std::int64_t>{0, 1, 0, 1, 2, 0});
}

TEST_CASE("sample names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  const auto refuses = [&](const SampleArgs& args, const char* text) {
    CHECK_THROWS_WITH(sample(exec, args), text);
  };
  SampleArgs args;
  args.logits = pool.uniform(DType::float32, {2, 9}, -1, 1);
  args.out = pool.poisoned(DType::int64, {2});
  sample(exec, args);
  SampleArgs bad = args;
  bad.logits = pool.uniform(DType::float32, {9}, -1, 1);
  refuses(bad, "sample: logits is float32 (9), but must have 2 axes");
  bad = args;
  bad.top_k = pool.integers({2}, {1, 2});
  refuses(bad, "sample: top_k is int32, but must be int64");
  bad = args;
  bad.temperature = pool.floats({1.0f});
  refuses(bad, "sample: temperature has shape (1), but must have (2)");
  bad = args;
  bad.repetition_penalty = pool.floats({1.0f, 1.0f});
  refuses(bad, "sample: repetition_penalty needs prompt_counts or counts");
  bad = args;
  bad.presence_penalty = pool.floats({1.0f, 1.0f});
  refuses(bad, "sample: presence_penalty and frequency_penalty need counts");
  if (test::device() != Device::cpu()) return;
  bad = args;
  bad.top_p = pool.floats({1.0f, 0.0f});
  refuses(bad, "sample: top_p holds 0 at 1, but must be above 0 and at most 1");
  bad = args;
  bad.temperature = pool.floats({-1.0f, 0.0f});
  refuses(bad, "sample: temperature holds -1 at 0, but must be finite and not negative");
  bad = args;
  bad.min_p = pool.floats({0.5f, std::numeric_limits<float>::quiet_NaN()});
  refuses(bad, "sample: min_p holds nan at 1, but must be from 0 to 1");
}
