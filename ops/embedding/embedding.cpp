#include "ophis/ops/embedding.hpp"

#include "ops/common/quantized.hpp"
#include "ops/embedding/embedding_impl.hpp"

namespace ophis {

void embedding(ExecContext& exec, const EmbeddingArgs& args) {
  const ArgumentChecker check("embedding", exec);
  check.given("ids", args.ids);
  check.given("weight", args.weight);
  check.given("out", args.out);
  OPHIS_REQUIRE(args.ids.rank() >= 1 && args.ids.rank() < Dims::max_rank, "embedding: ids is ", args.ids,
                ", but must have one to five axes");
  check.rank("weight", args.weight, 2);
  const bool is_quantized = static_cast<bool>(args.weight_scale);
  OPHIS_REQUIRE(is_quantized || !args.weight_shift,
                "embedding: there is a weight_shift, but no weight_scale");
  OPHIS_REQUIRE(!is_quantized || args.out.rank() > 0, "embedding: out is ", args.out,
                ", but must have the axes of ids and one more");
  Dims shape = args.ids.shape();
  shape.push_back(is_quantized ? args.out.extent(-1) : args.weight.extent(1));
  check.shape("ids", args.ids, args.ids.shape());
  if (is_quantized) {
    check_quantized(check, args.weight, args.weight_scale, args.weight_shift, args.weight.extent(0),
                    args.out.extent(-1));
    OPHIS_REQUIRE(args.out.stride(-1) == 1,
                  "embedding: the last axis of out must be dense, but its stride is ", args.out.stride(-1));
  } else {
    check.rows("weight", args.weight);
    check.parameter("weight", args.weight, args.weight.shape());
  }
  check.parameter("out", args.out, shape);
  check.indices("ids", args.ids, args.weight.extent(0));
  dispatch("embedding", embedding_impls(), exec, args);
}

}  // namespace ophis
