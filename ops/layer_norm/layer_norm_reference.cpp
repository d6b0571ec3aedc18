#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis {

void layer_norm_reference(const LayerNormArgs& args) { norm_reference(as_rms_norm(args), true); }

}  // namespace ophis
