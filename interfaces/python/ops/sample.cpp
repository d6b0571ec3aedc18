#include "ophis/ops/sample.hpp"

#include "interfaces/python/src/op.hpp"
#include "interfaces/python/src/ops.hpp"

namespace ophis::python {

void bind_sample(nb::module_& module) {
  using Args = SampleArgs;
  def_op(module, "sample", sample, In("logits", &Args::logits), In("temperature", &Args::temperature),
         In("top_k", &Args::top_k), In("top_p", &Args::top_p), In("min_p", &Args::min_p),
         In("repetition_penalty", &Args::repetition_penalty), In("presence_penalty", &Args::presence_penalty),
         In("frequency_penalty", &Args::frequency_penalty), In("prompt_counts", &Args::prompt_counts),
         In("seed", &Args::seed), In("sequence", &Args::sequence), Out("position", &Args::position),
         Out("counts", &Args::counts), Out("out", &Args::out));
}

}  // namespace ophis::python
