#include "ops/common/reference.hpp"
#include "ops/mask_positions/mask_positions_impl.hpp"

namespace ophis {

void mask_positions_reference(const MaskPositionsArgs& args) {
  const Elements x(args.x), mask(args.mask), out(args.out);
  for (std::int64_t b = 0; b < args.x.extent(0); ++b) {
    for (std::int64_t l = 0; l < args.x.extent(1); ++l) {
      for (std::int64_t d = 0; d < args.x.extent(2); ++d)
        out.set(mask(b, l) != 0 ? x(b, l, d) : 0.0, b, l, d);
    }
  }
}

}  // namespace ophis
