#include <cmath>

#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor NormLinearArgs::*> tensors_of() {
  return {&NormLinearArgs::x,           &NormLinearArgs::residual,  &NormLinearArgs::norm_weight,
          &NormLinearArgs::weight,      &NormLinearArgs::bias,      &NormLinearArgs::conv_state,
          &NormLinearArgs::conv_weight, &NormLinearArgs::conv_bias, &NormLinearArgs::residual_out,
          &NormLinearArgs::out};
}

namespace {

struct Case {
  const char* name;
  std::int64_t rows, in_features, out_features;
  std::int64_t conv_begin, conv_dim, width;  ///< conv_dim 0: no convolution
  bool residual, float32_residual, float32_out, biases;
  Activation activation;
  std::int64_t padding;  ///< unused elements after each row
};

constexpr auto identity = Activation::identity, silu = Activation::silu;

const Case cases[] = {
    {"1 x 1 -> 1", 1, 1, 1, 0, 0, 0, false, false, false, false, identity, 0},
    {"1 x 64 -> 72, conv of 40", 1, 64, 72, 24, 40, 4, true, true, false, false, silu, 0},
    {"3 x 96 -> 50, conv of all, width 2", 3, 96, 50, 0, 50, 2, true, false, false, true, identity, 0},
    {"2 x 1536 -> 131", 2, 1536, 131, 0, 0, 0, true, true, true, false, identity, 0},
    {"5 x 200 -> 33, conv of 17, width 3", 5, 200, 33, 16, 17, 3, false, false, false, true, silu, 8},
    {"4 x 37 -> 20, conv of 3, gelu", 4, 37, 20, 1, 3, 5, true, true, false, true, Activation::gelu, 3},
    {"8 x 256 -> 300", 8, 256, 300, 0, 0, 0, true, true, false, false, identity, 0},
    {"17 x 128 -> 40, conv of 8", 17, 128, 40, 32, 8, 4, true, true, false, false, silu, 0},
};

}  // namespace

void check_norm_linear(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<NormLinearArgs>> problems;
    for (const Case& c : cases) {
      const Layout layout{{}, c.padding};
      const Dims in_shape{c.rows, c.in_features};
      NormLinearArgs args;
      args.x = pool.uniform(dtype, in_shape, -1, 1, layout);
      if (c.residual) {
        const DType residual = c.float32_residual ? DType::float32 : dtype;
        args.residual = pool.uniform(residual, in_shape, -2, 2, layout);
        args.residual_out = pool.poisoned(residual, in_shape, layout);
      }
      args.norm_weight = pool.uniform(DType::float32, {c.in_features}, 0.5, 1.5);
      args.weight = pool.uniform(dtype, {c.out_features, c.in_features}, -1, 1, layout);
      if (c.biases) args.bias = pool.uniform(dtype, {c.out_features}, -1, 1);
      if (c.conv_dim > 0) {
        args.conv_begin = c.conv_begin;
        args.conv_state = pool.uniform(dtype, {c.rows, c.conv_dim, c.width - 1}, -3, 3, {{0, 2, 1}, 0});
        args.conv_weight = pool.uniform(DType::float32, {c.conv_dim, c.width}, -1, 1, {{1, 0}, 0});
        if (c.biases) args.conv_bias = pool.uniform(dtype, {c.conv_dim}, -1, 1);
        args.conv_activation = c.activation;
      }
      args.out = pool.poisoned(c.float32_out ? DType::float32 : dtype, {c.rows, c.out_features}, layout);
      // The product's sum, as linear's; the sum of squares and the root; the taps and the activation.
      const double product = 6.0 + std::sqrt(static_cast<double>(c.in_features));
      problems.push_back({c.name,
                          args,
                          {{"out", &NormLinearArgs::out, product + 2.0 * static_cast<double>(c.width) + 8.0},
                           {"conv_state", &NormLinearArgs::conv_state, product, true},
                           {"residual_out", &NormLinearArgs::residual_out, 1.0}}});
    }
    return problems;
  };
  check_op("norm_linear", exec, norm_linear_impls(), norm_linear_reference, norm_linear, make_problems,
           report);
}

}  // namespace ophis::parity
