#include <vector>

#include "ops/common/reference.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis {
void norm_reference(const RmsNormArgs& args, bool subtract_mean) {
  const Elements x(args.x), weight(args.weight), bias(args.bias), residual(args.residual), z(args.z);
  const Elements residual_out(args.residual_out), out(args.out);
  const std::int64_t dim = args.x.extent(-1);
  const std::int64_t group = args.group_size ? args.group_size : dim;
  std::vector<double> values(static_cast<std::size_t>(group));
  for (std::int64_t first = 0; first < args.x.count(); first += group) {
    double total = 0.0, squares = 0.0;
    for (std::int64_t i = 0; i < group; ++i) {
      double value = x.at(first + i) + (residual ? residual.at(first + i) : 0.0);
      if (residual_out) residual_out.set_at(value, first + i);
      if (z && !args.norm_before_gate) value *= reference::silu(z.at(first + i));
      values[static_cast<std::size_t>(i)] = value;
      total += value;
    }
    const double n = static_cast<double>(group);
    const double mean = subtract_mean ? total / n : 0.0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const double root = std::sqrt(squares / n + args.eps);
    for (std::int64_t i = 0; i < group; ++i) {
      const std::int64_t column = (first + i) % dim;
      double y = (values[static_cast<std::size_t>(i)] - mean) / root;
      y = y * (weight ? weight.at(column) : 1.0) + (bias ? bias.at(column) : 0.0);
      if (z && args.norm_before_gate) y *= reference::silu(z.at(first + i));
      out.set_at(y, first + i);
    }
  }
}

void rms_norm_reference(const RmsNormArgs& args) { norm_reference(args, false); }

}  // namespace ophis
