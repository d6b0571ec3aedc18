#include "ophis/ops/causal_conv1d.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_causal_conv1d(nb::module_& module) {
  {
    using Args = CausalConv1dArgs;
    def_op(module, "causal_conv1d", causal_conv1d, In("x", &Args::x), In("weight", &Args::weight),
           In("bias", &Args::bias), In("initial_states", &Args::initial_states),
           In("seq_idx", &Args::seq_idx), In("cu_seqlens", &Args::cu_seqlens),
           In("activation", &Args::activation), Out("out", &Args::out),
           Out("final_states", &Args::final_states));
  }
  {
    using Args = CausalConv1dUpdateArgs;
    def_op(module, "causal_conv1d_update", causal_conv1d_update, In("x", &Args::x),
           Out("conv_state", &Args::conv_state), In("weight", &Args::weight), In("bias", &Args::bias),
           In("activation", &Args::activation), Out("out", &Args::out));
  }
}

}  // namespace ophis::python
