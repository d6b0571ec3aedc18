#include "ophis/ops/softmax.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_softmax_args> {
  using From = ophis_softmax_args;
  using To = SoftmaxArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(log), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_softmax_args_init(ophis_softmax_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_softmax(ophis_context* context, const ophis_softmax_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::softmax);
}
