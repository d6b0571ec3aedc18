#include "ophis/ops/ssd_scan.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_ssd_scan_args> {
  using From = ophis_ssd_scan_args;
  using To = SsdScanArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),
                                      OPHIS_C_MEMBER(dt),
                                      OPHIS_C_MEMBER(A),
                                      OPHIS_C_MEMBER(B),
                                      OPHIS_C_MEMBER(C),
                                      OPHIS_C_MEMBER(D),
                                      OPHIS_C_MEMBER(z),
                                      OPHIS_C_MEMBER(dt_bias),
                                      OPHIS_C_MEMBER(dt_softplus),
                                      OPHIS_C_MEMBER(dt_min),
                                      OPHIS_C_MEMBER(dt_max),
                                      OPHIS_C_MEMBER(chunk_size),
                                      OPHIS_C_MEMBER(initial_states),
                                      OPHIS_C_MEMBER(seq_idx),
                                      OPHIS_C_MEMBER(cu_seqlens),
                                      OPHIS_C_MEMBER(out),
                                      OPHIS_C_MEMBER(final_states)};
};

template <>
struct Mapping<ophis_ssd_state_update_args> {
  using From = ophis_ssd_state_update_args;
  using To = SsdStateUpdateArgs;
  static constexpr std::tuple members{
      OPHIS_C_MEMBER(state),   OPHIS_C_MEMBER(x),           OPHIS_C_MEMBER(dt),     OPHIS_C_MEMBER(A),
      OPHIS_C_MEMBER(B),       OPHIS_C_MEMBER(C),           OPHIS_C_MEMBER(D),      OPHIS_C_MEMBER(z),
      OPHIS_C_MEMBER(dt_bias), OPHIS_C_MEMBER(dt_softplus), OPHIS_C_MEMBER(dt_min), OPHIS_C_MEMBER(dt_max),
      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_ssd_scan_args_init(ophis_ssd_scan_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_ssd_scan(ophis_context* context, const ophis_ssd_scan_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::ssd_scan);
}

ophis_status ophis_ssd_state_update_args_init(ophis_ssd_state_update_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_ssd_state_update(ophis_context* context, const ophis_ssd_state_update_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::ssd_state_update);
}
