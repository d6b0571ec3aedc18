#include "ophis/ops/linear.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_linear(nb::module_& module) {
  using Args = LinearArgs;
  def_op(module, "linear", linear, In("x", &Args::x), In("weight", &Args::weight), In("bias", &Args::bias),
         Out("out", &Args::out), In("weight_is_constant", &Args::weight_is_constant),
         In("accumulate", &Args::accumulate));
}

}  // namespace ophis::python
