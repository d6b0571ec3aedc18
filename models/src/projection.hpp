// Products with a model's weights, dense or quantized.
#pragma once

#include <functional>

#include "ophis/core/exec_context.hpp"
#include "ophis/models/weight.hpp"
#include "ophis/ops/norm_linear.hpp"

namespace ophis {

/// out = x weight^T + bias; x (rows..., in), out (rows..., out). The flags are those of LinearArgs.
void project(ExecContext& exec, const Tensor& x, const Weight& weight, const Parameter& bias,
             const Tensor& out, bool weight_is_constant = false, bool accumulate = false);

/// out[i..., :] = weight[ids[i...], :]
void embed(ExecContext& exec, const Weight& weight, const Tensor& ids, const Tensor& out);

/// Gives norm_linear its weight, which nothing writes to.
void set_weight(NormLinearArgs& args, const Weight& weight);

/// While it lives, `see` is told the inputs of every project() of this thread.
class ScopedProjectionObserver {
 public:
  using See = std::function<void(const Weight& weight, const Tensor& x)>;
  explicit ScopedProjectionObserver(See see);
  ~ScopedProjectionObserver();
  ScopedProjectionObserver(const ScopedProjectionObserver&) = delete;
  ScopedProjectionObserver& operator=(const ScopedProjectionObserver&) = delete;
};

}  // namespace ophis
