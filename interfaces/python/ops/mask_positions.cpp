#include "ophis/ops/mask_positions.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_mask_positions(nb::module_& module) {
  using Args = MaskPositionsArgs;
  def_op(module, "mask_positions", mask_positions, In("x", &Args::x), In("mask", &Args::mask),
         Out("out", &Args::out));
}

}  // namespace ophis::python
