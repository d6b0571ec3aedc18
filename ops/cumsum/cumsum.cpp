#include "ophis/ops/cumsum.hpp"

#include "ops/common/check.hpp"
#include "ops/cumsum/cumsum_impl.hpp"

namespace ophis {

void cumsum(ExecContext& exec, const CumsumArgs& args) {
  const ArgumentChecker check("cumsum", exec);
  check.given("x", args.x);
  check.given("out", args.out);
  const DType dtype = args.x.dtype();
  OPHIS_REQUIRE(
      is_compute_dtype(dtype) || dtype == DType::float64 || dtype == DType::int32 || dtype == DType::int64,
      "cumsum: x is ", dtype, ", but must be float32, bfloat16, float16, float64, int32 or int64");
  const int rank = args.x.rank();
  OPHIS_REQUIRE(args.axis >= -rank && args.axis < rank, "cumsum: axis ", args.axis, " is not an axis of x, ",
                args.x);
  check.shape("x", args.x, args.x.shape());
  check.shape("out", args.out, args.x.shape());
  if (dtype != DType::int32 || args.out.dtype() != DType::int64) check.dtype("out", args.out, dtype);
  dispatch("cumsum", cumsum_impls(), exec, args);
}

}  // namespace ophis
