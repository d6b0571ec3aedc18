#include "models/src/source_pieces.hpp"

#include <algorithm>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/host_parallel.hpp"

namespace ophis {

void for_each_piece(std::int64_t rows, std::span<const std::byte> bytes, const ReleaseFn& release,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  if (rows == 0) return;
  // Small beside any model, but long to read beside what releasing takes; several a thread, which end
  // together.
  constexpr std::size_t smallest = std::size_t{256} << 10, largest = std::size_t{1} << 20;
  const std::size_t row_bytes = std::max<std::size_t>(bytes.size() / static_cast<std::size_t>(rows), 1);
  const std::size_t share = bytes.size() / static_cast<std::size_t>(8 * num_threads());
  const std::size_t step_rows = std::clamp(share, smallest, largest) / row_bytes;
  const auto step = std::max<std::int64_t>(static_cast<std::int64_t>(step_rows), 1);
  for_each_on_host((rows + step - 1) / step, [&](std::int64_t piece, int) {
    const std::int64_t begin = piece * step, end = std::min(begin + step, rows);
    body(begin, end);
    if (!release) return;
    release(bytes.subspan(static_cast<std::size_t>(begin) * row_bytes,
                          static_cast<std::size_t>(end - begin) * row_bytes));
  });
}

void for_each_piece(const Parameter& parameter,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  const Tensor& tensor = parameter.tensor;
  const bool dense = tensor.is_contiguous();
  for_each_piece(tensor.extent(0), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()},
                 dense ? parameter.release : ReleaseFn{}, body);
}

}  // namespace ophis
