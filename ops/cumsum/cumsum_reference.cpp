#include "ops/common/reference.hpp"
#include "ops/cumsum/cumsum_impl.hpp"

namespace ophis {

void cumsum_reference(const CumsumArgs& args) {
  const Elements x(args.x), out(args.out);
  const int axis = args.axis < 0 ? args.axis + args.x.rank() : args.axis;
  const std::int64_t length = args.x.extent(axis);
  // In row-major order, elements that follow each other along the axis are `inner` positions apart.
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= args.x.extent(i);
  for (int i = axis + 1; i < args.x.rank(); ++i) inner *= args.x.extent(i);
  for (std::int64_t row = 0; row < outer * inner; ++row) {
    const std::int64_t first = row / inner * length * inner + row % inner;
    double sum = 0.0;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t position = first + (args.reverse ? length - 1 - i : i) * inner;
      sum += x.read(x.offset_of_position(position));
      out.write(out.offset_of_position(position), sum);
    }
  }
}

}  // namespace ophis
