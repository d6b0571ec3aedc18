#include <algorithm>
#include <cmath>

#include "bench/ops/cases.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, in_features, out_features;
};

// The projections of mamba2-130m's blocks, for one token and for a prompt.
constexpr Shape shapes[] = {{1, 768, 3352}, {1, 1536, 768}, {512, 768, 3352}, {512, 1536, 768}};
// Those of mamba2-2.7b, and of a batch of tokens.
constexpr Shape large_shapes[] = {{1, 2560, 10576}, {1, 5120, 2560}, {64, 2560, 10576}, {2048, 2560, 10576}};

Configuration<LinearArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  LinearArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.in_features}, -1, 1);
  args.weight = pool.uniform(dtype, {s.out_features, s.in_features}, -1, 1);
  args.out = pool.poisoned(dtype, {s.rows, s.out_features});
  return {args,
          {{"out", &LinearArgs::out, 2.0 + std::sqrt(static_cast<double>(s.in_features))}},
          bytes_of({args.x, args.weight, args.out}),
          2.0 * static_cast<double>(s.rows * s.in_features * s.out_features)};
}

}  // namespace

Cases linear_cases() {
  const Op<LinearArgs> op{"linear", linear_impls, linear_reference, linear};
  Cases cases;
  const auto add = [&](const Shape& s, Worth worth) {
    const Shape scaled{std::min<std::int64_t>(s.rows, 17), s.in_features, s.rows == 1 ? 256 : 64};
    add_case(cases, op, detail::concat("rows ", s.rows, ", ", s.in_features, " -> ", s.out_features), make, s,
             scaled, worth);
  };
  for (const Shape& s : shapes) add(s, Worth::everywhere);
  for (const Shape& s : large_shapes) add(s, Worth::on_gpus);
  return cases;
}

}  // namespace ophis::bench
