#include "ophis/ops/mask_positions.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_mask_positions_args> {
  using From = ophis_mask_positions_args;
  using To = MaskPositionsArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(mask), OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_mask_positions_args_init(ophis_mask_positions_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_mask_positions(ophis_context* context, const ophis_mask_positions_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::mask_positions);
}
