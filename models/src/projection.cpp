#include "models/src/projection.hpp"

#include <utility>

#include "ophis/ops/embedding.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/quantized_linear.hpp"

namespace ophis {
namespace {

thread_local ScopedProjectionObserver::See observer;

}  // namespace

void project(ExecContext& exec, const Tensor& x, const Weight& weight, const Parameter& bias,
             const Tensor& out, bool weight_is_constant, bool accumulate) {
  if (observer) observer(weight, x);
  if (!weight.is_quantized())
    return linear(exec, {x, weight.values.tensor, bias.tensor, out, weight_is_constant, accumulate});
  quantized_linear(exec, {x, weight.values.tensor, weight.scale.tensor, weight.shift.tensor, bias.tensor,
                          weight_is_constant, accumulate, out});
}

void embed(ExecContext& exec, const Weight& weight, const Tensor& ids, const Tensor& out) {
  embedding(exec, {ids, weight.values.tensor, weight.scale.tensor, weight.shift.tensor, out});
}

void set_weight(NormLinearArgs& args, const Weight& weight) {
  args.weight = weight.values.tensor;
  args.weight_scale = weight.scale.tensor;
  args.weight_shift = weight.shift.tensor;
  args.weight_is_constant = true;
}

ScopedProjectionObserver::ScopedProjectionObserver(See see) { observer = std::move(see); }
ScopedProjectionObserver::~ScopedProjectionObserver() { observer = nullptr; }

}  // namespace ophis
