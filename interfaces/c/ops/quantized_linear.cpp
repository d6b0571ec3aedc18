#include "ophis/ops/quantized_linear.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_quantized_linear_args> {
  using From = ophis_quantized_linear_args;
  using To = QuantizedLinearArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x),
                                      OPHIS_C_MEMBER(weight),
                                      OPHIS_C_MEMBER(weight_scale),
                                      OPHIS_C_MEMBER(weight_shift),
                                      OPHIS_C_MEMBER(bias),
                                      OPHIS_C_MEMBER(weight_is_constant),
                                      OPHIS_C_MEMBER(accumulate),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_quantized_linear_args_init(ophis_quantized_linear_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_quantized_linear(ophis_context* context, const ophis_quantized_linear_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::quantized_linear);
}
