#include "ophis/ops/cumsum.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_cumsum_args> {
  using From = ophis_cumsum_args;
  using To = CumsumArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(axis), OPHIS_C_MEMBER(reverse),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_cumsum_args_init(ophis_cumsum_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_cumsum(ophis_context* context, const ophis_cumsum_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::cumsum);
}
