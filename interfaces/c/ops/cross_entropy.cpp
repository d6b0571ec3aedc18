#include "ophis/ops/cross_entropy.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_cross_entropy_args> {
  using From = ophis_cross_entropy_args;
  using To = CrossEntropyArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(logits), OPHIS_C_MEMBER(labels),
                                      OPHIS_C_MEMBER(ignore_index), OPHIS_C_MEMBER(losses)};
};

}  // namespace ophis::c

ophis_status ophis_cross_entropy_args_init(ophis_cross_entropy_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_cross_entropy(ophis_context* context, const ophis_cross_entropy_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::cross_entropy);
}
