#include "ophis/ops/argmax.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_argmax_args> {
  using From = ophis_argmax_args;
  using To = ArgmaxArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_argmax_args_init(ophis_argmax_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_argmax(ophis_context* context, const ophis_argmax_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::argmax);
}
