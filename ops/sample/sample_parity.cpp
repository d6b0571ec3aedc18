#include <limits>

#include "ops/common/reference.hpp"
#include "ops/parity/problem.hpp"
#include "ops/sample/sample_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor SampleArgs::*> tensors_of() {
  return {&SampleArgs::logits,
          &SampleArgs::temperature,
          &SampleArgs::top_k,
          &SampleArgs::top_p,
          &SampleArgs::min_p,
          &SampleArgs::repetition_penalty,
          &SampleArgs::presence_penalty,
          &SampleArgs::frequency_penalty,
          &SampleArgs::prompt_counts,
          &SampleArgs::seed,
          &SampleArgs::sequence,
          &SampleArgs::position,
          &SampleArgs::counts,
          &SampleArgs::out};
}

namespace {

struct Case {
  const char* name;
  std::int64_t batch, vocab;
  double spread;  // logits are in +-spread
  double step;    // logits are multiples of it; 0: any
  bool top_k, top_p, min_p, penalties;
  Layout layout;
};

const Case cases[] = {
    {"one token", 3, 1, 4, 0, true, true, true, false, {}},
    {"vocab 15, no filter", 8, 15, 4, 0, false, false, false, false, {}},
    {"vocab 17, top-k, slice", 8, 17, 4, 0, true, false, false, false, {{}, 5}},
    {"vocab 64, top-p", 8, 64, 4, 0, false, true, false, false, {}},
    {"vocab 100, min-p, transposed", 8, 100, 4, 0, false, false, true, false, {{1, 0}, 3}},
    {"vocab 1000, all filters", 8, 1000, 8, 0, true, true, true, false, {}},
    {"vocab 1000, penalties", 8, 1000, 8, 0, false, true, false, true, {}},
    {"vocab 257, everything, many equals", 16, 257, 3, 0.5, true, true, true, true, {}},
    {"vocab 4097, equals", 4, 4097, 2, 1, true, true, false, false, {}},
    {"vocab 9000, many rows", 70, 9000, 8, 0, true, true, false, false, {}},
    {"vocab 50280, all filters", 2, 50280, 12, 0, true, true, true, true, {}},
    {"no rows", 0, 9, 4, 0, true, true, true, true, {}},
};

/// One value a row, the given ones in turn.
Tensor settings(TensorPool& pool, std::int64_t batch, const std::vector<float>& values) {
  const Tensor tensor = pool.poisoned(DType::float32, {batch});
  for (std::int64_t i = 0; i < batch; ++i) {
    tensor.data<float>()[i] = values[static_cast<std::size_t>(i) % values.size()];
  }
  return tensor;
}

Tensor integers(TensorPool& pool, std::int64_t batch, const std::vector<std::int64_t>& values) {
  const Tensor tensor = pool.poisoned(DType::int64, {batch});
  for (std::int64_t i = 0; i < batch; ++i) {
    tensor.data<std::int64_t>()[i] = values[static_cast<std::size_t>(i) % values.size()];
  }
  return tensor;
}

/// Mostly 0, else 1 to 3.
Tensor few_counts(TensorPool& pool, std::int64_t batch, std::int64_t vocab) {
  const Tensor drawn = pool.uniform(DType::float32, {batch, vocab}, -20, 4);
  const Tensor counts = pool.poisoned(DType::int32, {batch, vocab});
  for (std::int64_t i = 0; i < counts.count(); ++i) {
    counts.data<std::int32_t>()[i] = static_cast<std::int32_t>(std::max(drawn.data<float>()[i], 0.0f));
  }
  return counts;
}

Tensor make_logits(TensorPool& pool, DType dtype, const Case& c) {
  const Tensor logits = pool.uniform(dtype, {c.batch, c.vocab}, -c.spread, c.spread, c.layout);
  const Elements elements(logits);
  for (std::int64_t i = 0; c.step > 0 && i < logits.count(); ++i) {
    elements.set_at(std::round(elements.at(i) / c.step) * c.step, i);
  }
  // What is impossible is never drawn; rows that are not finite are settled without drawing.
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (c.batch >= 8) {
    elements.set(-infinity, 0, 0);
    elements.set(infinity, 5, c.vocab / 2);
    elements.set(infinity, 6, c.vocab / 2);
    elements.set(std::numeric_limits<double>::quiet_NaN(), 6, c.vocab - 1);
  }
  return logits;
}

SampleArgs make_args(TensorPool& pool, DType dtype, const Case& c) {
  SampleArgs args;
  args.logits = make_logits(pool, dtype, c);
  args.temperature = settings(pool, c.batch, {1.0f, 0.7f, 1.5f, 0.0f, 0.1f});
  if (c.top_k) args.top_k = integers(pool, c.batch, {3, 1, 40, 0, 100000});
  if (c.top_p) args.top_p = settings(pool, c.batch, {0.9f, 0.5f, 1.0f, 0.01f, 0.999f, 0.75f, 0.3f});
  if (c.min_p) args.min_p = settings(pool, c.batch, {0.05f, 0.0f, 0.5f, 1.0f});
  if (c.penalties) {
    args.repetition_penalty = settings(pool, c.batch, {1.2f, 1.0f, 0.8f});
    args.presence_penalty = settings(pool, c.batch, {0.5f, 0.0f, -0.25f});
    args.frequency_penalty = settings(pool, c.batch, {0.0f, 0.125f});
    args.prompt_counts = few_counts(pool, c.batch, c.vocab);
    args.counts = few_counts(pool, c.batch, c.vocab);
  }
  args.seed = integers(pool, c.batch, {0, 42, -1, std::int64_t{1} << 40});
  args.sequence = integers(pool, c.batch, {0, 1, 7});
  args.position = integers(pool, c.batch, {0, 1, 1000, (std::int64_t{1} << 33) + 5});
  args.out = pool.poisoned(DType::int64, {c.batch});
  return args;
}

}  // namespace

void check_sample(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<SampleArgs>> problems;
    for (const Case& c : cases) {
      problems.push_back({c.name,
                          make_args(pool, dtype, c),
                          {{"out", &SampleArgs::out, 0.0},
                           {"position", &SampleArgs::position, 0.0, true},
                           {"counts", &SampleArgs::counts, 0.0, true}}});
    }
    return problems;
  };
  check_op("sample", exec, sample_impls(), sample_reference, sample, make_problems, report);
}

}  // namespace ophis::parity
