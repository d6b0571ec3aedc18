// The activation functions on packs.
#pragma once

#include "ophis/core/simd_math.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis {

namespace detail {

template <int W>
OPHIS_INLINE_FUNCTION Pack<W> relu(Pack<W> x) {
  return Pack<W>(x.v < 0.0f ? Pack<W>(0.0f).v : x.v);  // NaN stays
}

}  // namespace detail

/// kind(x), for kernels that end with an activation.
template <int W>
OPHIS_INLINE_FUNCTION Pack<W> apply_activation(Activation kind, Pack<W> x) {
  using P = Pack<W>;
  switch (kind) {
    case Activation::identity:
      return x;
    case Activation::silu:
      return silu(x);
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::gelu_tanh: {  // (1 + tanh u) / 2 is sigmoid(2u); 2 sqrt(2 / pi) = 1.5957...
      const P u = x * fma(x * x, P(0.044715f), P(1.0f)) * P(1.5957691216f);
      return x * sigmoid(u);
    }
    case Activation::quick_gelu:
      return x * sigmoid(x * P(1.702f));
    case Activation::relu:
      return detail::relu(x);
    case Activation::relu2:
      return detail::relu(x) * detail::relu(x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::softplus:
      return softplus(x);
  }
  return x;
}

}  // namespace ophis
