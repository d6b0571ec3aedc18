#include "ophis/ops/activation.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

constexpr bool is_same(Activation kind, ophis_activation_kind code) { return static_cast<int>(kind) == code; }
static_assert(is_same(Activation::identity, OPHIS_IDENTITY) && is_same(Activation::silu, OPHIS_SILU) &&
              is_same(Activation::gelu, OPHIS_GELU) && is_same(Activation::gelu_tanh, OPHIS_GELU_TANH) &&
              is_same(Activation::quick_gelu, OPHIS_QUICK_GELU) && is_same(Activation::relu, OPHIS_RELU) &&
              is_same(Activation::relu2, OPHIS_RELU2) && is_same(Activation::sigmoid, OPHIS_SIGMOID) &&
              is_same(Activation::tanh, OPHIS_TANH) && is_same(Activation::softplus, OPHIS_SOFTPLUS));

template <>
struct Mapping<ophis_activation_args> {
  using From = ophis_activation_args;
  using To = ActivationArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(kind), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_activation_args_init(ophis_activation_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_activation(ophis_context* context, const ophis_activation_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::activation);
}
