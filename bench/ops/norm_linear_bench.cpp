#include <cmath>

#include "bench/ops/cases.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, in_features, out_features, conv_dim;
};

Configuration<NormLinearArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  constexpr std::int64_t width = 4;
  NormLinearArgs args;
  args.x = pool.uniform(DType::float32, {s.rows, s.in_features}, -1, 1);
  args.norm_weight = pool.uniform(DType::float32, {s.in_features}, 0.5, 1.5);
  args.weight = pool.uniform(dtype, {s.out_features, s.in_features}, -1, 1);
  args.weight_is_constant = true;
  args.conv_state = pool.uniform(dtype, {s.rows, s.conv_dim, width - 1}, -1, 1, {{0, 2, 1}, 0});
  args.conv_weight = pool.uniform(DType::float32, {s.conv_dim, width}, -1, 1, {{1, 0}, 0});
  args.conv_bias = pool.uniform(DType::float32, {s.conv_dim}, -1, 1);
  args.conv_activation = Activation::silu;
  args.out = pool.poisoned(dtype, {s.rows, s.out_features});
  const double roundings = 14.0 + 2.0 * width + std::sqrt(static_cast<double>(s.in_features));
  return {args,
          {{"out", &NormLinearArgs::out, roundings}},
          bytes_of({args.x, args.norm_weight, args.weight, args.conv_state, args.conv_state, args.conv_weight,
                    args.conv_bias, args.out}),
          2.0 * static_cast<double>(s.rows * s.in_features * s.out_features)};
}

}  // namespace

Cases norm_linear_cases() {
  const Op<NormLinearArgs> op{"norm_linear", norm_linear_impls, norm_linear_reference, norm_linear};
  Cases cases;
  const auto add = [&](const Shape& s, Worth worth) {
    const Shape scaled{s.rows, s.in_features, 256, 128};
    add_case(cases, op,
             detail::concat("rows ", s.rows, ", ", s.in_features, " -> ", s.out_features, ", convolution of ",
                            s.conv_dim),
             make, s, scaled, worth);
  };
  add({1, 768, 3352, 1792}, Worth::everywhere);
  add({1, 2560, 10576, 5376}, Worth::on_gpus);
  return cases;
}

}  // namespace ophis::bench
