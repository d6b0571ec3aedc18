#include "ophis/ops/argmax.hpp"

#include "ops/argmax/argmax_impl.hpp"
#include "ops/common/check.hpp"

namespace ophis {

void argmax(ExecContext& exec, const ArgmaxArgs& args) {
  const ArgumentChecker check("argmax", exec);
  check.given("x", args.x);
  check.given("out", args.out);
  check.rows("x", args.x);
  check.activation("x", args.x, args.x.shape(), args.x.dtype());
  check.activation("out", args.out, without_last(args.x.shape()), DType::int64);
  dispatch("argmax", argmax_impls(), exec, args);
}

}  // namespace ophis
