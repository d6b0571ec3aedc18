#include "ops/common/reference.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis {

void linear_reference(const LinearArgs& args) {
  const std::int64_t rows = args.x.count() / args.x.extent(-1);
  const std::int64_t in_features = args.weight.extent(1), out_features = args.weight.extent(0);
  const Elements x(args.x.reshape({rows, in_features})), out(args.out.reshape({rows, out_features}));
  const Elements weight(args.weight), bias(args.bias);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out_features; ++o) {
      double sum = bias ? bias(o) : 0.0;
      if (args.accumulate) sum += out(r, o);
      for (std::int64_t i = 0; i < in_features; ++i) sum += x(r, i) * weight(o, i);
      out.set(sum, r, o);
    }
  }
}

}  // namespace ophis
