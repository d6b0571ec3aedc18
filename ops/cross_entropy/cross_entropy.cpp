#include "ophis/ops/cross_entropy.hpp"

#include "ops/common/check.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"

namespace ophis {

void cross_entropy(ExecContext& exec, const CrossEntropyArgs& args) {
  const ArgumentChecker check("cross_entropy", exec);
  check.given("logits", args.logits);
  check.given("labels", args.labels);
  check.given("losses", args.losses);
  check.rows("logits", args.logits);
  const Dims rows = without_last(args.logits.shape());
  check.activation("logits", args.logits, args.logits.shape(), args.logits.dtype());
  check.activation("labels", args.labels, rows, DType::int64);
  check.activation("losses", args.losses, rows, DType::float32);
  check.indices("labels", args.labels, args.logits.extent(-1), args.ignore_index);
  dispatch("cross_entropy", cross_entropy_impls(), exec, args);
}

}  // namespace ophis
