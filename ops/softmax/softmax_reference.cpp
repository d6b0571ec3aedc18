#include <algorithm>
#include <limits>

#include "ops/common/reference.hpp"
#include "ops/softmax/softmax_impl.hpp"

namespace ophis {

void softmax_reference(const SoftmaxArgs& args) {
  const Elements x(args.x), out(args.out);
  const std::int64_t n = args.x.extent(-1);
  for (std::int64_t first = 0; first < args.x.count(); first += n) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
    for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, x.at(first + i));
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x.at(first + i) - largest);
    for (std::int64_t i = 0; i < n; ++i) {
      const double shifted = x.at(first + i) - largest;
      out.set_at(args.log ? shifted - std::log(sum) : std::exp(shifted) / sum, first + i);
    }
  }
}

}  // namespace ophis
