#include "ops/argmax/argmax_impl.hpp"
#include "ops/common/reference.hpp"

namespace ophis {

void argmax_reference(const ArgmaxArgs& args) {
  const Elements x(args.x), out(args.out);
  const std::int64_t n = args.x.extent(-1);
  for (std::int64_t row = 0; row * n < args.x.count(); ++row) {
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < n; ++i) {
      const double value = x.at(row * n + i), largest = x.at(row * n + best);
      if (!std::isnan(largest) && (std::isnan(value) || value > largest)) best = i;
    }
    out.set_at(static_cast<double>(best), row);
  }
}

}  // namespace ophis
