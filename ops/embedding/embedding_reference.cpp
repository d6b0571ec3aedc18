#include "ops/common/reference.hpp"
#include "ops/embedding/embedding_impl.hpp"

namespace ophis {

void embedding_reference(const EmbeddingArgs& args) {
  const Elements ids(args.ids), weight(args.weight), out(args.out);
  const Elements scale(args.weight_scale), shift(args.weight_shift);
  const std::int64_t dim = args.out.extent(-1);
  const auto element = [&](std::int64_t id, std::int64_t d) {
    if (!scale) return weight(id, d);
    const std::int64_t g = d / (dim / args.weight_scale.extent(1));
    const bool is_int8 = args.weight.extent(1) == dim;
    const int byte = static_cast<int>(weight(id, is_int8 ? d : d / 2));
    const int code = is_int8 ? byte : d % 2 == 0 ? byte % 16 : byte / 16;
    return scale(id, g) * code + (shift ? shift(id, g) : -scale(id, g) * (is_int8 ? 128.0 : 8.0));
  };
  for (std::int64_t token = 0; token < args.ids.count(); ++token) {
    const auto id = static_cast<std::int64_t>(ids.at(token));
    for (std::int64_t d = 0; d < dim; ++d) out.set_at(element(id, d), token * dim + d);
  }
}

}  // namespace ophis
