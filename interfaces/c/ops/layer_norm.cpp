#include "ophis/ops/layer_norm.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_layer_norm_args> {
  using From = ophis_layer_norm_args;
  using To = LayerNormArgs;
  static constexpr std::tuple members{
      OPHIS_C_MEMBER(x),   OPHIS_C_MEMBER(weight),       OPHIS_C_MEMBER(bias), OPHIS_C_MEMBER(residual),
      OPHIS_C_MEMBER(eps), OPHIS_C_MEMBER(residual_out), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_layer_norm_args_init(ophis_layer_norm_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_layer_norm(ophis_context* context, const ophis_layer_norm_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::layer_norm);
}
