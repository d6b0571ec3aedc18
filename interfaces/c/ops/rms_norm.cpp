#include "ophis/ops/rms_norm.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_rms_norm_args> {
  using From = ophis_rms_norm_args;
  using To = RmsNormArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),
                                      OPHIS_C_MEMBER(weight),
                                      OPHIS_C_MEMBER(bias),
                                      OPHIS_C_MEMBER(residual),
                                      OPHIS_C_MEMBER(z),
                                      OPHIS_C_MEMBER(eps),
                                      OPHIS_C_MEMBER(norm_before_gate),
                                      OPHIS_C_MEMBER(group_size),
                                      OPHIS_C_MEMBER(residual_out),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_rms_norm_args_init(ophis_rms_norm_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_rms_norm(ophis_context* context, const ophis_rms_norm_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::rms_norm);
}
