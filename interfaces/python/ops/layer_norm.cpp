#include "ophis/ops/layer_norm.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_layer_norm(nb::module_& module) {
  using Args = LayerNormArgs;
  def_op(module, "layer_norm", layer_norm, In("x", &Args::x), In("weight", &Args::weight),
         In("bias", &Args::bias), In("residual", &Args::residual), In("eps", &Args::eps),
         Out("residual_out", &Args::residual_out), Out("out", &Args::out));
}

}  // namespace ophis::python
