#include "ophis/ops/embedding.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_embedding(nb::module_& module) {
  using Args = EmbeddingArgs;
  def_op(module, "embedding", embedding, In("ids", &Args::ids), In("weight", &Args::weight),
         In("weight_scale", &Args::weight_scale), In("weight_shift", &Args::weight_shift),
         Out("out", &Args::out));
}

}  // namespace ophis::python
