#include <cmath>

#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor NormLinearArgs::*> tensors_of() {
  return {&NormLinearArgs::x,
          &NormLinearArgs::norm_weight,
          &NormLinearArgs::weight,
          &NormLinearArgs::weight_scale,
          &NormLinearArgs::weight_shift,
          &NormLinearArgs::bias,
          &NormLinearArgs::conv_state,
          &NormLinearArgs::conv_weight,
          &NormLinearArgs::conv_bias,
          &NormLinearArgs::out};
}

namespace {

struct Case {
  const char* name;
  std::int64_t rows, in_features, out_features;
  std::int64_t conv_begin, conv_dim, width;  ///< conv_dim 0: no convolution
  bool float32_x, accumulate, float32_out, biases;
  Activation activation;
  std::int64_t padding;  ///< unused elements after each row
  int bits = 0;          ///< of a quantized weight, in groups of 32; 0: one of x's dtype
  bool shift = false;
};

constexpr auto identity = Activation::identity, silu = Activation::silu;

const Case cases[] = {
    {"1 x 1 -> 1", 1, 1, 1, 0, 0, 0, false, false, false, false, identity, 0},
    {"1 x 64 -> 72, conv of 40", 1, 64, 72, 24, 40, 4, true, false, false, false, silu, 0},
    {"3 x 96 -> 50, conv of all, width 2", 3, 96, 50, 0, 50, 2, true, false, false, true, identity, 0},
    {"2 x 1536 -> 131", 2, 1536, 131, 0, 0, 0, true, false, true, false, identity, 0},
    {"1 x 5120 -> 40, added", 1, 5120, 40, 0, 0, 0, false, true, true, true, identity, 0},
    {"4 x 6400 -> 24, added", 4, 6400, 24, 0, 0, 0, false, true, false, false, identity, 0},
    {"5 x 200 -> 33, conv of 17, width 3", 5, 200, 33, 16, 17, 3, false, false, false, true, silu, 8},
    {"4 x 37 -> 20, conv of 3, gelu", 4, 37, 20, 1, 3, 5, true, false, false, true, Activation::gelu, 3},
    {"8 x 256 -> 300, added", 8, 256, 300, 0, 0, 0, true, true, false, false, identity, 0},
    {"17 x 128 -> 40, conv of 8", 17, 128, 40, 32, 8, 4, true, false, false, false, silu, 0},
    {"17 x 128 -> 40, added", 17, 128, 40, 0, 0, 0, true, true, true, false, identity, 0},
    {"int8, 1 x 64 -> 72, conv of 40", 1, 64, 72, 24, 40, 4, true, false, false, false, silu, 0, 8, false},
    {"int4, 3 x 256 -> 131, conv of 100", 3, 256, 131, 31, 100, 4, true, false, false, true, silu, 0, 4,
     true},
    {"int4, 1 x 1536 -> 70, added", 1, 1536, 70, 0, 0, 0, false, true, true, false, identity, 0, 4, false},
};

}  // namespace

void check_norm_linear(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<NormLinearArgs>> problems;
    for (const Case& c : cases) {
      const Layout layout{{}, c.padding};
      NormLinearArgs args;
      args.x = pool.uniform(c.float32_x ? DType::float32 : dtype, {c.rows, c.in_features}, -1, 1, layout);
      args.norm_weight = pool.uniform(DType::float32, {c.in_features}, 0.5, 1.5);
      if (c.bits > 0) {
        const Dims groups{c.out_features, c.in_features / 32};
        const double codes = 1 << c.bits;
        args.weight = pool.bytes({c.out_features, c.in_features * c.bits / 8}, layout);
        args.weight_scale = pool.uniform(DType::bfloat16, groups, 1 / codes, 2 / codes);
        if (c.shift) args.weight_shift = pool.uniform(DType::float32, groups, -1, 0);
      } else {
        args.weight = pool.uniform(dtype, {c.out_features, c.in_features}, -1, 1, layout);
      }
      if (c.biases) args.bias = pool.uniform(dtype, {c.out_features}, -1, 1);
      if (c.conv_dim > 0) {
        args.conv_begin = c.conv_begin;
        args.conv_state = pool.uniform(dtype, {c.rows, c.conv_dim, c.width - 1}, -3, 3, {{0, 2, 1}, 0});
        args.conv_weight = pool.uniform(DType::float32, {c.conv_dim, c.width}, -1, 1, {{1, 0}, 0});
        if (c.biases) args.conv_bias = pool.uniform(dtype, {c.conv_dim}, -1, 1);
        args.conv_activation = c.activation;
      }
      const DType out_dtype = c.float32_out ? DType::float32 : dtype;
      const Dims out_shape{c.rows, c.out_features};
      args.accumulate = c.accumulate;
      args.out = c.accumulate ? pool.uniform(out_dtype, out_shape, -4, 4, layout)
                              : pool.poisoned(out_dtype, out_shape, layout);
      // The product's sum, as linear's; the sum of squares and the root; the taps and the activation.
      const double product = 6.0 + (c.bits > 0 ? 3.0 : 1.0) * std::sqrt(static_cast<double>(c.in_features));
      problems.push_back(
          {c.name,
           args,
           {{"out", &NormLinearArgs::out, product + 2.0 * static_cast<double>(c.width) + 8.0, c.accumulate},
            {"conv_state", &NormLinearArgs::conv_state, product, true}}});
    }
    return problems;
  };
  check_op("norm_linear", exec, norm_linear_impls(), norm_linear_reference, norm_linear, make_problems,
           report);
}

}  // namespace ophis::parity
