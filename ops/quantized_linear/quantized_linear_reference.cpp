#include "ops/common/reference.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis {

void quantized_linear_reference(const QuantizedLinearArgs& args) {
  const std::int64_t in_features = args.x.extent(-1), out_features = args.weight.extent(0);
  const std::int64_t rows = args.x.count() / in_features;
  const std::int64_t group_size = in_features / args.weight_scale.extent(1);
  const bool is_int8 = args.weight.extent(1) == in_features;
  const Elements x(args.x.reshape({rows, in_features})), out(args.out.reshape({rows, out_features}));
  const Elements codes(args.weight), scale(args.weight_scale), shift(args.weight_shift), bias(args.bias);
  const auto code = [&](std::int64_t o, std::int64_t i) {
    if (is_int8) return codes(o, i);
    const int byte = static_cast<int>(codes(o, i / 2));
    return static_cast<double>(i % 2 == 0 ? byte % 16 : byte / 16);
  };
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out_features; ++o) {
      double sum = bias ? bias(o) : 0.0;
      if (args.accumulate) sum += out(r, o);
      for (std::int64_t i = 0; i < in_features; ++i) {
        const std::int64_t g = i / group_size;
        const double zero = shift ? shift(o, g) : -scale(o, g) * (is_int8 ? 128.0 : 8.0);
        sum += x(r, i) * (scale(o, g) * code(o, i) + zero);
      }
      out.set(sum, r, o);
    }
  }
}

}  // namespace ophis
