#include "ophis/ops/activation.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

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
