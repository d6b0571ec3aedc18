#include "ophis/ops/quantized_linear.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_quantized_linear(nb::module_& module) {
  using Args = QuantizedLinearArgs;
  def_op(module, "quantized_linear", quantized_linear, In("x", &Args::x), In("weight", &Args::weight),
         In("weight_scale", &Args::weight_scale), In("weight_shift", &Args::weight_shift),
         In("bias", &Args::bias), In("weight_is_constant", &Args::weight_is_constant),
         In("accumulate", &Args::accumulate), Out("out", &Args::out));
}

}  // namespace ophis::python
