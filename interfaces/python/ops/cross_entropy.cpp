#include "ophis/ops/cross_entropy.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_cross_entropy(nb::module_& module) {
  using Args = CrossEntropyArgs;
  def_op(module, "cross_entropy", cross_entropy, In("logits", &Args::logits), In("labels", &Args::labels),
         In("ignore_index", &Args::ignore_index), Out("losses", &Args::losses));
}

}  // namespace ophis::python
