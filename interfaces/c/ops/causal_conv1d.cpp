#include "ophis/ops/causal_conv1d.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_causal_conv1d_args> {
  using From = ophis_causal_conv1d_args;
  using To = CausalConv1dArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),           OPHIS_C_MEMBER(weight),
                                      OPHIS_C_MEMBER(bias),        OPHIS_C_MEMBER(initial_states),
                                      OPHIS_C_MEMBER(seq_idx),     OPHIS_C_MEMBER(cu_seqlens),
                                      OPHIS_C_MEMBER(activation),  OPHIS_C_MEMBER(out),
                                      OPHIS_C_MEMBER(final_states)};
};

template <>
struct Mapping<ophis_causal_conv1d_update_args> {
  using From = ophis_causal_conv1d_update_args;
  using To = CausalConv1dUpdateArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),          OPHIS_C_MEMBER(conv_state),
                                      OPHIS_C_MEMBER(weight),     OPHIS_C_MEMBER(bias),
                                      OPHIS_C_MEMBER(activation), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_causal_conv1d_args_init(ophis_causal_conv1d_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_causal_conv1d(ophis_context* context, const ophis_causal_conv1d_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::causal_conv1d);
}

ophis_status ophis_causal_conv1d_update_args_init(ophis_causal_conv1d_update_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_causal_conv1d_update(ophis_context* context, const ophis_causal_conv1d_update_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::causal_conv1d_update);
}
