#include "ophis/ops/mask_positions.hpp"

#include "ops/common/check.hpp"
#include "ops/mask_positions/mask_positions_impl.hpp"

namespace ophis {

void mask_positions(ExecContext& exec, const MaskPositionsArgs& args) {
  const ArgumentChecker check("mask_positions", exec);
  check.given("x", args.x);
  check.given("mask", args.mask);
  check.given("out", args.out);
  check.rank("x", args.x, 3);
  check.compute_dtype("x", args.x);
  check.activation("x", args.x, args.x.shape(), args.x.dtype());
  check.shape("mask", args.mask, {args.x.extent(0), args.x.extent(1)});
  if (args.mask.dtype() != DType::int32) check.dtype("mask", args.mask, DType::int64);
  check.activation("out", args.out, args.x.shape(), args.x.dtype());
  dispatch("mask_positions", mask_positions_impls(), exec, args);
}

}  // namespace ophis
