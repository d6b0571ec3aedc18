#include <algorithm>
#include <cmath>

#include "bench/ops/cases.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  int bits;
  std::int64_t group_size, rows, in_features, out_features;
};

// The projections of mamba2-130m's blocks and its head, for one token and for a prompt.
constexpr Shape shapes[] = {{8, 128, 1, 768, 3352},   {4, 128, 1, 768, 3352},  {4, 32, 1, 768, 3352},
                            {8, 128, 1, 768, 50288},  {4, 128, 1, 768, 50288}, {4, 128, 8, 768, 3352},
                            {8, 128, 512, 768, 3352}, {4, 128, 512, 768, 3352}};
// Those of mamba2-2.7b, and of a batch of tokens.
constexpr Shape large_shapes[] = {{8, 128, 1, 2560, 10576},
                                  {4, 128, 1, 2560, 10576},
                                  {4, 128, 1, 5120, 2560},
                                  {4, 128, 64, 2560, 10576},
                                  {4, 128, 2048, 2560, 10576}};

Configuration<QuantizedLinearArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const double codes = 1 << s.bits;
  QuantizedLinearArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.in_features}, -1, 1);
  args.weight = pool.bytes({s.out_features, s.in_features * s.bits / 8});
  args.weight_scale =
      pool.uniform(DType::bfloat16, {s.out_features, s.in_features / s.group_size}, 1 / codes, 2 / codes);
  args.weight_is_constant = true;
  args.out = pool.poisoned(dtype, {s.rows, s.out_features});
  return {args,
          {{"out", &QuantizedLinearArgs::out, 4.0 + 3.0 * std::sqrt(static_cast<double>(s.in_features))}},
          bytes_of({args.x, args.weight, args.weight_scale, args.out}),
          2.0 * static_cast<double>(s.rows * s.in_features * s.out_features)};
}

}  // namespace

Cases quantized_linear_cases() {
  const Op<QuantizedLinearArgs> op{"quantized_linear", quantized_linear_impls, quantized_linear_reference,
                                   quantized_linear};
  Cases cases;
  const auto add = [&](const Shape& s, Worth worth) {
    Shape scaled = s;
    scaled.rows = std::min<std::int64_t>(s.rows, 17);
    scaled.out_features = s.rows == 1 ? 256 : 64;
    add_case(cases, op,
             detail::concat("int", s.bits, ", group ", s.group_size, ", rows ", s.rows, ", ", s.in_features,
                            " -> ", s.out_features),
             make, s, scaled, worth);
  };
  for (const Shape& s : shapes) add(s, Worth::everywhere);
  for (const Shape& s : large_shapes) add(s, Worth::on_gpus);
  return cases;
}

}  // namespace ophis::bench
