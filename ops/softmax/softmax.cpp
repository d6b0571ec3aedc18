#include "ophis/ops/softmax.hpp"

#include "ops/common/check.hpp"
#include "ops/softmax/softmax_impl.hpp"

namespace ophis {

void softmax(ExecContext& exec, const SoftmaxArgs& args) {
  const ArgumentChecker check("softmax", exec);
  check.given("x", args.x);
  check.given("out", args.out);
  check.rows("x", args.x);
  check.activation("x", args.x, args.x.shape(), args.x.dtype());
  check.activation("out", args.out, args.x.shape(), args.x.dtype());
  dispatch("softmax", softmax_impls(), exec, args);
}

}  // namespace ophis
