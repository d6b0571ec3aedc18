#include "ops/common/reference.hpp"
#include "ops/embedding/embedding_impl.hpp"

namespace ophis {

void embedding_reference(const EmbeddingArgs& args) {
  const Elements ids(args.ids), weight(args.weight), out(args.out);
  const std::int64_t dim = args.weight.extent(1);
  for (std::int64_t token = 0; token < args.ids.count(); ++token) {
    const auto id = static_cast<std::int64_t>(ids.at(token));
    for (std::int64_t d = 0; d < dim; ++d) out.set_at(weight(id, d), token * dim + d);
  }
}

}  // namespace ophis
