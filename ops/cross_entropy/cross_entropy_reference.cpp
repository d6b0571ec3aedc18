#include <algorithm>
#include <limits>

#include "ops/common/reference.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"

namespace ophis {

void cross_entropy_reference(const CrossEntropyArgs& args) {
  const Elements logits(args.logits), labels(args.labels), losses(args.losses);
  const std::int64_t vocab = args.logits.extent(-1);
  for (std::int64_t row = 0; row < args.labels.count(); ++row) {
    const auto label = static_cast<std::int64_t>(labels.at(row));
    if (label == args.ignore_index) {
      losses.set_at(0.0, row);
      continue;
    }
    double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
    for (std::int64_t i = 0; i < vocab; ++i) largest = std::max(largest, logits.at(row * vocab + i));
    for (std::int64_t i = 0; i < vocab; ++i) sum += std::exp(logits.at(row * vocab + i) - largest);
    losses.set_at(largest + std::log(sum) - logits.at(row * vocab + label), row);
  }
}

}  // namespace ophis
