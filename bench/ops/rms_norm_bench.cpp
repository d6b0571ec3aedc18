#include <algorithm>

#include "bench/ops/cases.hpp"
#include "ophis/core/simd.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  const char* text;
  std::int64_t rows, dim;
  bool residual, gate;
};

constexpr Shape shapes[] = {
    {"rows 1, dim 2560, float32 residual", 1, 2560, true, false},
    {"rows 2048, dim 768", 2048, 768, false, false},
    {"rows 2048, dim 768, float32 residual", 2048, 768, true, false},
    {"rows 2048, dim 1536, gate", 2048, 1536, false, true},
};

Configuration<RmsNormArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  RmsNormArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.dim}, -2, 2);
  args.weight = pool.uniform(dtype, {s.dim}, 0.5, 1.5);
  if (s.residual) args.residual = pool.uniform(DType::float32, {s.rows, s.dim}, -2, 2);
  if (s.gate) args.z = pool.uniform(dtype, {s.rows, s.dim}, -3, 3);
  if (s.residual) args.residual_out = pool.poisoned(DType::float32, {s.rows, s.dim});
  args.out = pool.poisoned(dtype, {s.rows, s.dim});
  const double roundings = 0.25 * static_cast<double>(s.dim) / native_pack_width + 8.0;
  return {args,
          {{"out", &RmsNormArgs::out, roundings}, {"residual_out", &RmsNormArgs::residual_out, 1.0}},
          bytes_of({args.x, args.weight, args.residual, args.z, args.residual_out, args.out}),
          (4.0 + s.residual + 5.0 * s.gate) * static_cast<double>(args.x.count())};
}

}  // namespace

Cases rms_norm_cases() {
  const Op<RmsNormArgs> op{"rms_norm", rms_norm_impls, rms_norm_reference, rms_norm};
  Cases cases;
  for (const Shape& s : shapes) {
    Shape scaled = s;
    scaled.rows = std::min<std::int64_t>(s.rows, 16);
    add_case(cases, op, s.text, make, s, scaled);
  }
  return cases;
}

}  // namespace ophis::bench
