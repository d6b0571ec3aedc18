#include "ophis/ops/argmax.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_argmax(nb::module_& module) {
  using Args = ArgmaxArgs;
  def_op(module, "argmax", argmax, In("x", &Args::x), Out("out", &Args::out));
}

}  // namespace ophis::python
