#include "ophis/ops/cumsum.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_cumsum(nb::module_& module) {
  using Args = CumsumArgs;
  def_op(module, "cumsum", cumsum, In("x", &Args::x), In("axis", &Args::axis), In("reverse", &Args::reverse),
         Out("out", &Args::out));
}

}  // namespace ophis::python
