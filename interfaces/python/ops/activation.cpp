#include "ophis/ops/activation.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_activation(nb::module_& module) {
  using Args = ActivationArgs;
  def_op(module, "activation", activation, In("x", &Args::x), In("kind", &Args::kind),
         Out("out", &Args::out));
}

}  // namespace ophis::python
