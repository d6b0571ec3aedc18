#include <vector>

#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/common/reference.hpp"
#include "ops/linear/linear_impl.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis {

void norm_linear_reference(const NormLinearArgs& args) {
  std::vector<double> values(static_cast<std::size_t>(args.x.count()));
  const Tensor normed(values.data(), DType::float64, args.x.shape());
  rms_norm_reference(norm_of(args, normed));
  if (args.weight_scale)
    quantized_linear_reference(quantized_linear_of(args, normed));
  else
    linear_reference(linear_of(args, normed));
  if (args.conv_state) causal_conv1d_update_reference(conv_of(args));
}

}  // namespace ophis
