#include "ophis/ops/softmax.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_softmax(nb::module_& module) {
  using Args = SoftmaxArgs;
  def_op(module, "softmax", softmax, In("x", &Args::x), In("log", &Args::log), Out("out", &Args::out));
}

}  // namespace ophis::python
