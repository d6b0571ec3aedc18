#include "ophis/ops/rms_norm.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_rms_norm(nb::module_& module) {
  using Args = RmsNormArgs;
  def_op(module, "rms_norm", rms_norm, In("x", &Args::x), In("weight", &Args::weight),
         In("bias", &Args::bias), In("residual", &Args::residual), In("z", &Args::z), In("eps", &Args::eps),
         In("norm_before_gate", &Args::norm_before_gate), In("group_size", &Args::group_size),
         Out("residual_out", &Args::residual_out), Out("out", &Args::out));
}

}  // namespace ophis::python
