#include "ophis/ops/rms_norm.hpp"

#include <cmath>

#include "ops/common/check.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"

namespace ophis {

void check_norm(const char* op, ExecContext& exec, const RmsNormArgs& args) {
  const ArgumentChecker check(op, exec);
  check.given("x", args.x);
  check.given("out", args.out);
  check.rows("x", args.x);
  const Dims shape = args.x.shape();
  const DType dtype = args.out.dtype();
  const std::int64_t dim = args.x.extent(-1);
  check.compute_dtype("out", args.out);
  check.shape("x", args.x, shape);
  check.dtype_or_float32("x", args.x, dtype);
  check.parameter("weight", args.weight, {dim});
  check.parameter("bias", args.bias, {dim});
  check.shape("residual", args.residual, shape);
  check.dtype_or_float32("residual", args.residual, dtype);
  check.activation("z", args.z, shape, dtype);
  OPHIS_REQUIRE(std::isfinite(args.eps) && args.eps >= 0.0, op, ": eps is ", args.eps,
                ", but must be a finite number of at least 0");
  OPHIS_REQUIRE(args.group_size >= 0 && (args.group_size == 0 || dim % args.group_size == 0), op,
                ": group_size is ", args.group_size, ", but must divide the row of ", dim);
  check.shape("residual_out", args.residual_out, shape);
  check.dtype_or_float32("residual_out", args.residual_out, dtype);
  check.activation("out", args.out, shape, dtype);
}

void rms_norm(ExecContext& exec, const RmsNormArgs& args) {
  check_norm("rms_norm", exec, args);
  dispatch("rms_norm", rms_norm_impls(), exec, args);
}

}  // namespace ophis
