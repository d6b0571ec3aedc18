#include <algorithm>
#include <numeric>
#include <vector>

#include "ophis/core/philox.hpp"
#include "ops/common/reference.hpp"
#include "ops/sample/sample_impl.hpp"

namespace ophis {
namespace {

double value_or(const Tensor& tensor, std::int64_t row, double otherwise) {
  return tensor ? Elements(tensor)(row) : otherwise;
}

std::uint64_t bits_or_zero(const Tensor& tensor, std::int64_t row) {
  if (!tensor) return 0;
  if (tensor.dtype() == DType::float64) return static_cast<std::uint64_t>(Elements(tensor)(row));
  return static_cast<std::uint64_t>(tensor.data<std::int64_t>()[row * tensor.stride(0)]);
}

/// The logits of a row behind its penalties.
std::vector<double> penalised(const SampleArgs& args, std::int64_t row) {
  const double repetition = value_or(args.repetition_penalty, row, 1.0);
  const double presence = value_or(args.presence_penalty, row, 0.0);
  const double frequency = value_or(args.frequency_penalty, row, 0.0);
  std::vector<double> x;
  for (std::int64_t v = 0; v < args.logits.extent(1); ++v) {
    const double in_prompt = args.prompt_counts ? Elements(args.prompt_counts)(row, v) : 0.0;
    const double drawn = args.counts ? Elements(args.counts)(row, v) : 0.0;
    double value = Elements(args.logits)(row, v);
    if (in_prompt + drawn > 0.0) value = value > 0.0 ? value / repetition : value * repetition;
    if (drawn > 0.0) value -= presence + frequency * drawn;
    x.push_back(value);
  }
  return x;
}

/// -log(1 - u) of token v.
double exponential(const SampleArgs& args, std::int64_t row, std::size_t v) {
  const std::uint64_t position = bits_or_zero(args.position, row);
  const PhiloxWords words = philox(
      {{static_cast<std::uint32_t>(v / 4), static_cast<std::uint32_t>(bits_or_zero(args.sequence, row)),
        static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32)}},
      bits_or_zero(args.seed, row));
  const double u = (static_cast<double>(words.word[v % 4]) + 0.5) / 4294967296.0;
  return -std::log1p(-u);
}

std::size_t draw(const SampleArgs& args, std::int64_t row) {
  const std::vector<double> x = penalised(args, row);
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  // NaN first, then falling; of equals the lower token.
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::isnan(x[a]) ? !std::isnan(x[b]) : x[a] > x[b];
  });
  const double largest = x[order.front()], temperature = value_or(args.temperature, row, 1.0);
  if (temperature == 0.0 || !std::isfinite(largest)) return order.front();

  const auto top_k = static_cast<std::size_t>(value_or(args.top_k, row, 0.0));
  if (top_k > 0) order.resize(std::min(top_k, order.size()));
  std::vector<double> p;
  for (const std::size_t v : order) p.push_back(std::exp((x[v] - largest) / temperature));
  const double top_p = value_or(args.top_p, row, 1.0), min_p = value_or(args.min_p, row, 0.0);
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double before = 0.0, best = -1.0;
  std::size_t drawn = order.front();
  for (std::size_t i = 0; i < order.size() && (top_p == 1.0 || before < top_p * total); ++i) {
    const double score = p[i] / exponential(args, row, order[i]);
    if (p[i] >= min_p && (score > best || (score == best && order[i] < drawn))) {
      best = score;
      drawn = order[i];
    }
    before += p[i];
  }
  return drawn;
}

void add_one(const Elements& elements, std::int64_t position) {
  elements.set_at(elements.at(position) + 1.0, position);
}

}  // namespace

void sample_reference(const SampleArgs& args) {
  for (std::int64_t row = 0; row < args.logits.extent(0); ++row) {
    const std::size_t drawn = draw(args, row);
    Elements(args.out).set(static_cast<double>(drawn), row);
    if (args.position) add_one(Elements(args.position), row);
    if (args.counts) {
      add_one(Elements(args.counts), row * args.logits.extent(1) + static_cast<std::int64_t>(drawn));
    }
  }
}

}  // namespace ophis
