#include "ophis/ops/norm_linear.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_norm_linear_args> {
  using From = ophis_norm_linear_args;
  using To = NormLinearArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),
                                      OPHIS_C_MEMBER(norm_weight),
                                      OPHIS_C_MEMBER(eps),
                                      OPHIS_C_MEMBER(weight),
                                      OPHIS_C_MEMBER(weight_scale),
                                      OPHIS_C_MEMBER(weight_shift),
                                      OPHIS_C_MEMBER(bias),
                                      OPHIS_C_MEMBER(weight_is_constant),
                                      OPHIS_C_MEMBER(accumulate),
                                      OPHIS_C_MEMBER(conv_state),
                                      OPHIS_C_MEMBER(conv_weight),
                                      OPHIS_C_MEMBER(conv_bias),
                                      OPHIS_C_MEMBER(conv_activation),
                                      OPHIS_C_MEMBER(conv_begin),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_norm_linear_args_init(ophis_norm_linear_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_norm_linear(ophis_context* context, const ophis_norm_linear_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::norm_linear);
}
