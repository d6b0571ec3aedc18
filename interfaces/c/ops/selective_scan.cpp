#include "ophis/ops/selective_scan.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_selective_scan_args> {
  using From = ophis_selective_scan_args;
  using To = SelectiveScanArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(u),
                                      OPHIS_C_MEMBER(delta),
                                      OPHIS_C_MEMBER(A),
                                      OPHIS_C_MEMBER(B),
                                      OPHIS_C_MEMBER(C),
                                      OPHIS_C_MEMBER(D),
                                      OPHIS_C_MEMBER(z),
                                      OPHIS_C_MEMBER(delta_bias),
                                      OPHIS_C_MEMBER(delta_softplus),
                                      OPHIS_C_MEMBER(initial_states),
                                      OPHIS_C_MEMBER(cu_seqlens),
                                      OPHIS_C_MEMBER(out),
                                      OPHIS_C_MEMBER(final_states)};
};

template <>
struct Mapping<ophis_selective_state_update_args> {
  using From = ophis_selective_state_update_args;
  using To = SelectiveStateUpdateArgs;
  static constexpr std::tuple members{
      OPHIS_C_MEMBER(state),   OPHIS_C_MEMBER(x),         OPHIS_C_MEMBER(dt),          OPHIS_C_MEMBER(A),
      OPHIS_C_MEMBER(B),       OPHIS_C_MEMBER(C),         OPHIS_C_MEMBER(D),           OPHIS_C_MEMBER(z),
      OPHIS_C_MEMBER(dt_bias), OPHIS_C_MEMBER(dt_weight), OPHIS_C_MEMBER(dt_softplus), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_selective_scan_args_init(ophis_selective_scan_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_selective_scan(ophis_context* context, const ophis_selective_scan_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::selective_scan);
}

ophis_status ophis_selective_state_update_args_init(ophis_selective_state_update_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_selective_state_update(ophis_context* context,
                                          const ophis_selective_state_update_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::selective_state_update);
}
