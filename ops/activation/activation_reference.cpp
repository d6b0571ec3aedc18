#include "ops/activation/activation_impl.hpp"
#include "ops/common/reference.hpp"

namespace ophis {

double reference::apply_activation(Activation kind, double x) {
  constexpr double sqrt_half = 0.70710678118654752, sqrt_two_over_pi = 0.79788456080286536;
  switch (kind) {
    case Activation::identity:
      return x;
    case Activation::silu:
      return reference::silu(x);
    case Activation::gelu:
      return x * std::erfc(-x * sqrt_half) / 2.0;
    case Activation::gelu_tanh:
      return x / 2.0 * (1.0 + std::tanh(sqrt_two_over_pi * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu:
      return x * reference::sigmoid(1.702 * x);
    case Activation::relu:
      return x < 0.0 ? 0.0 : x;
    case Activation::relu2:
      return x < 0.0 ? 0.0 : x * x;
    case Activation::sigmoid:
      return reference::sigmoid(x);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::softplus:
      return reference::softplus(x);
  }
  fail(ErrorCode::internal, "activation ", static_cast<int>(kind), " has no reference");
}

void activation_reference(const ActivationArgs& args) {
  const Elements x(args.x), out(args.out);
  for (std::int64_t i = 0; i < args.x.count(); ++i)
    out.set_at(reference::apply_activation(args.kind, x.at(i)), i);
}

}  // namespace ophis
