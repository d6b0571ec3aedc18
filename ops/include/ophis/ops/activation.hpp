// Activation functions, element by element.
#pragma once

#include <cstdint>
#include <string_view>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// Functions of one number.
enum class Activation : std::uint8_t {
  identity,    ///< x
  silu,        ///< x / (1 + exp(-x))
  gelu,        ///< x * Phi(x), Phi the cumulative distribution of the standard normal
  gelu_tanh,   ///< x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  quick_gelu,  ///< x / (1 + exp(-1.702 x))
  relu,        ///< max(x, 0)
  relu2,       ///< max(x, 0)^2
  sigmoid,     ///< 1 / (1 + exp(-x))
  tanh,
  softplus  ///< log(1 + exp(x)); x itself above 20
};

/// The function that a checkpoint's hidden_act names, in Hugging Face's spelling: "silu" or "swish", "gelu",
/// "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "linear", ...; also the names of the enumerators. Throws
/// Error(invalid_argument) that lists what is known.
Activation parse_activation(std::string_view name);

/// The enumerator's name.
const char* to_string(Activation kind) noexcept;

/// out = kind(x). T is one of float32, bfloat16, float16; arithmetic is float32. NaN stays NaN.
struct ActivationArgs {
  Tensor x;                                ///< T, one to six axes of any strides
  Activation kind = Activation::identity;  ///< which function

  Tensor out;  ///< T, the shape of x; may be x
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented.
void activation(ExecContext& exec, const ActivationArgs& args);

}  // namespace ophis
