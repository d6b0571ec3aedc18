#include "ophis/ops/layer_norm.hpp"

#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis {

void layer_norm(ExecContext& exec, const LayerNormArgs& args) {
  check_norm("layer_norm", exec, as_rms_norm(args));
  dispatch("layer_norm", layer_norm_impls(), exec, args);
}

}  // namespace ophis
