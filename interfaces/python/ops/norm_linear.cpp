#include "ophis/ops/norm_linear.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_norm_linear(nb::module_& module) {
  using Args = NormLinearArgs;
  def_op(module, "norm_linear", norm_linear, In("x", &Args::x), In("norm_weight", &Args::norm_weight),
         In("eps", &Args::eps), In("weight", &Args::weight), In("weight_scale", &Args::weight_scale),
         In("weight_shift", &Args::weight_shift), In("bias", &Args::bias),
         In("weight_is_constant", &Args::weight_is_constant), In("accumulate", &Args::accumulate),
         Out("conv_state", &Args::conv_state), In("conv_weight", &Args::conv_weight),
         In("conv_bias", &Args::conv_bias), In("conv_activation", &Args::conv_activation),
         In("conv_begin", &Args::conv_begin), Out("out", &Args::out));
}

}  // namespace ophis::python
