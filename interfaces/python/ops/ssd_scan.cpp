#include "ophis/ops/ssd_scan.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_ssd_scan(nb::module_& module) {
  {
    using Args = SsdScanArgs;
    def_op(module, "ssd_scan", ssd_scan, In("x", &Args::x), In("dt", &Args::dt), In("A", &Args::A),
           In("B", &Args::B), In("C", &Args::C), In("D", &Args::D), In("z", &Args::z),
           In("dt_bias", &Args::dt_bias), In("dt_softplus", &Args::dt_softplus), In("dt_min", &Args::dt_min),
           In("dt_max", &Args::dt_max), In("chunk_size", &Args::chunk_size),
           In("initial_states", &Args::initial_states), In("seq_idx", &Args::seq_idx),
           In("cu_seqlens", &Args::cu_seqlens), Out("out", &Args::out),
           Out("final_states", &Args::final_states));
  }
  {
    using Args = SsdStateUpdateArgs;
    def_op(module, "ssd_state_update", ssd_state_update, Out("state", &Args::state), In("x", &Args::x),
           In("dt", &Args::dt), In("A", &Args::A), In("B", &Args::B), In("C", &Args::C), In("D", &Args::D),
           In("z", &Args::z), In("dt_bias", &Args::dt_bias), In("dt_softplus", &Args::dt_softplus),
           In("dt_min", &Args::dt_min), In("dt_max", &Args::dt_max), Out("out", &Args::out));
  }
}

}  // namespace ophis::python
