#include "ophis/ops/selective_scan.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_selective_scan(nb::module_& module) {
  {
    using Args = SelectiveScanArgs;
    def_op(module, "selective_scan", selective_scan, In("u", &Args::u), In("delta", &Args::delta),
           In("A", &Args::A), In("B", &Args::B), In("C", &Args::C), In("D", &Args::D), In("z", &Args::z),
           In("delta_bias", &Args::delta_bias), In("delta_softplus", &Args::delta_softplus),
           In("initial_states", &Args::initial_states), In("cu_seqlens", &Args::cu_seqlens),
           Out("out", &Args::out), Out("final_states", &Args::final_states));
  }
  {
    using Args = SelectiveStateUpdateArgs;
    def_op(module, "selective_state_update", selective_state_update, Out("state", &Args::state),
           In("x", &Args::x), In("dt", &Args::dt), In("A", &Args::A), In("B", &Args::B), In("C", &Args::C),
           In("D", &Args::D), In("z", &Args::z), In("dt_bias", &Args::dt_bias),
           In("dt_weight", &Args::dt_weight), In("dt_softplus", &Args::dt_softplus), Out("out", &Args::out));
  }
}

}  // namespace ophis::python
