#include "bench/ops/cases.hpp"
#include "ophis/core/simd.hpp"
#include "ops/layer_norm/layer_norm_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, dim;
};

Configuration<LayerNormArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  LayerNormArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.dim}, -2, 2);
  args.weight = pool.uniform(dtype, {s.dim}, 0.5, 1.5);
  args.bias = pool.uniform(dtype, {s.dim}, -1, 1);
  args.out = pool.poisoned(dtype, {s.rows, s.dim});
  const double roundings = 1.25 * static_cast<double>(s.dim) / native_pack_width + 8.0;
  return {args,
          {{"out", &LayerNormArgs::out, roundings}},
          bytes_of({args.x, args.weight, args.bias, args.out}),
          8.0 * static_cast<double>(args.x.count())};
}

}  // namespace

Cases layer_norm_cases() {
  const Op<LayerNormArgs> op{"layer_norm", layer_norm_impls, layer_norm_reference, layer_norm};
  Cases cases;
  add_case(cases, op, "rows 2048, dim 768", make, Shape{2048, 768}, Shape{16, 768});
  return cases;
}

}  // namespace ophis::bench
