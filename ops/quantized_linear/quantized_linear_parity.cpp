#include "ops/parity/problem.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor QuantizedLinearArgs::*> tensors_of() {
  return {&QuantizedLinearArgs::x,
          &QuantizedLinearArgs::weight,
          &QuantizedLinearArgs::weight_scale,
          &QuantizedLinearArgs::weight_shift,
          &QuantizedLinearArgs::bias,
          &QuantizedLinearArgs::out};
}

namespace {

struct Case {
  const char* name;
  std::int64_t rows, in_features, out_features, groups;
  int bits;
  DType scale;
  bool shift, bias, float32_out, accumulate;
  std::int64_t padding;  ///< unused elements after each row of all tensors
};

constexpr auto f32 = DType::float32, bf16 = DType::bfloat16, f16 = DType::float16;

const Case cases[] = {
    {"int8, 1 x 8 -> 1", 1, 8, 1, 1, 8, f32, false, true, false, false, 0},
    {"int4, 1 x 8 -> 1", 1, 8, 1, 1, 4, f32, true, false, true, false, 0},
    {"int8, 1 x 256 -> 65, 2 groups", 1, 256, 65, 2, 8, bf16, false, false, false, true, 0},
    {"int4, 1 x 256 -> 65, 2 groups", 1, 256, 65, 2, 4, bf16, false, false, false, false, 0},
    {"int4, 2 x 384 -> 33, 3 groups, shifts", 2, 384, 33, 3, 4, f16, true, true, true, false, 0},
    {"int8, 3 x 384 -> 17, 3 groups, shifts", 3, 384, 17, 3, 8, f16, true, false, false, true, 0},
    {"int4, 4 x 96 -> 40, groups of 32", 4, 96, 40, 3, 4, f16, false, true, false, false, 0},
    {"int8, 5 x 96 -> 40, groups of 16", 5, 96, 40, 6, 8, f32, true, true, false, false, 0},
    {"int4, 7 x 600 -> 70, a channel, slices", 7, 600, 70, 1, 4, bf16, true, true, false, true, 3},
    {"int8, 8 x 600 -> 70, a channel, slices", 8, 600, 70, 1, 8, bf16, false, true, true, false, 5},
    {"int4, 6 x 256 -> 66, groups of 32", 6, 256, 66, 8, 4, f16, false, true, false, false, 0},
    {"int4, 5 x 256 -> 9, groups of 256, slices", 5, 256, 9, 1, 4, f32, true, false, false, false, 9},
    {"int8, 8 x 320 -> 67, groups of 64, slices", 8, 320, 67, 5, 8, bf16, true, true, false, false, 64},
    {"int8, 2 x 128 -> 7, groups of 8", 2, 128, 7, 16, 8, bf16, false, false, true, true, 0},
    {"int8, 1 x 2304 -> 6, a channel", 1, 2304, 6, 1, 8, f32, true, false, false, false, 0},
    {"int4, 5 x 2304 -> 5, 18 groups", 5, 2304, 5, 18, 4, bf16, true, false, false, false, 0},
    {"int4, 17 x 128 -> 200", 17, 128, 200, 1, 4, bf16, false, true, false, false, 8},
    {"int8, 33 x 512 -> 300, 4 groups", 33, 512, 300, 4, 8, f32, true, false, true, true, 0},
    {"int4, 9 x 1024 -> 1400, in float32 two panels", 9, 1024, 1400, 8, 4, bf16, false, true, false, false,
     0},
};

}  // namespace

void check_quantized_linear(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<QuantizedLinearArgs>> problems;
    for (const Case& c : cases) {
      QuantizedLinearArgs args;
      const Layout layout{{}, c.padding};
      const double codes = 1 << c.bits;
      args.x = pool.uniform(dtype, {c.rows, c.in_features}, -1, 1, layout);
      args.weight = pool.bytes({c.out_features, c.in_features * c.bits / 8}, layout);
      args.weight_scale = pool.uniform(c.scale, {c.out_features, c.groups}, 1 / codes, 2 / codes, layout);
      if (c.shift)
        args.weight_shift = pool.uniform(DType::float32, {c.out_features, c.groups}, -1, 0, layout);
      if (c.bias) args.bias = pool.uniform(DType::float32, {c.out_features}, -1, 1);
      const DType out_dtype = c.float32_out ? DType::float32 : dtype;
      const Dims out_shape{c.rows, c.out_features};
      args.accumulate = c.accumulate;
      args.out = c.accumulate ? pool.uniform(out_dtype, out_shape, -4, 4, layout)
                              : pool.poisoned(out_dtype, out_shape, layout);
      // As linear's; the sum over the codes and that over the middle or the shift are each larger than
      // theirs.
      const double roundings = 4.0 + 3.0 * std::sqrt(static_cast<double>(c.in_features));
      problems.push_back({c.name, args, {{"out", &QuantizedLinearArgs::out, roundings, c.accumulate}}});
    }
    return problems;
  };
  check_op("quantized_linear", exec, quantized_linear_impls(), quantized_linear_reference, quantized_linear,
           make_problems, report);
}

}  // namespace ophis::parity
