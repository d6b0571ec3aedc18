#include "ophis/ops/activation.hpp"

#include <string>

#include "ops/activation/activation_impl.hpp"
#include "ops/common/check.hpp"

namespace ophis {
namespace {

struct Name {
  const char* name;
  Activation kind;
};

// The enumerators' own names first, in their order.
constexpr Name names[] = {
    {"identity", Activation::identity},
    {"silu", Activation::silu},
    {"gelu", Activation::gelu},
    {"gelu_tanh", Activation::gelu_tanh},
    {"quick_gelu", Activation::quick_gelu},
    {"relu", Activation::relu},
    {"relu2", Activation::relu2},
    {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},
    {"softplus", Activation::softplus},
    {"linear", Activation::identity},
    {"swish", Activation::silu},
    {"gelu_python", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
};

}  // namespace

Activation parse_activation(std::string_view name) {
  std::string known;
  for (const Name& entry : names) {
    if (name == entry.name) return entry.kind;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail(ErrorCode::invalid_argument, "unknown activation '", name, "'; known: ", known);
}

const char* to_string(Activation kind) noexcept { return names[static_cast<std::size_t>(kind)].name; }

void activation(ExecContext& exec, const ActivationArgs& args) {
  const ArgumentChecker check("activation", exec);
  check.given("x", args.x);
  check.given("out", args.out);
  check.compute_dtype("x", args.x);
  check.activation("x", args.x, args.x.shape(), args.x.dtype());
  check.activation("out", args.out, args.x.shape(), args.x.dtype());
  dispatch("activation", activation_impls(), exec, args);
}

}  // namespace ophis
