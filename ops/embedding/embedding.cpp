#include "ophis/ops/embedding.hpp"

#include "ops/common/check.hpp"
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
  check.rows("weight", args.weight);
  Dims shape = args.ids.shape();
  shape.push_back(args.weight.extent(1));
  check.shape("ids", args.ids, args.ids.shape());
  check.parameter("weight", args.weight, args.weight.shape());
  check.parameter("out", args.out, shape);
  check.indices("ids", args.ids, args.weight.extent(0));
  dispatch("embedding", embedding_impls(), exec, args);
}

}  // namespace ophis
