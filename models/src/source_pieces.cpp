#include "models/src/source_pieces.hpp"

#include <algorithm>

namespace ophis {

void for_each_piece(std::int64_t rows, std::span<const std::byte> bytes, const ReleaseFn& release,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  // Small beside any model, and large enough to keep all threads busy.
  constexpr std::size_t piece_bytes = std::size_t{2} << 20;
  const std::size_t row_bytes = rows > 0 ? bytes.size() / static_cast<std::size_t>(rows) : 0;
  const auto step =
      static_cast<std::int64_t>(piece_bytes / std::clamp<std::size_t>(row_bytes, 1, piece_bytes));
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    const std::int64_t end = std::min(begin + step, rows);
    body(begin, end);
    if (!release) continue;
    release(bytes.subspan(static_cast<std::size_t>(begin) * row_bytes,
                          static_cast<std::size_t>(end - begin) * row_bytes));
  }
}

void for_each_piece(const Parameter& parameter,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  const Tensor& tensor = parameter.tensor;
  const bool dense = tensor.is_contiguous();
  for_each_piece(tensor.extent(0), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()},
                 dense ? parameter.release : ReleaseFn{}, body);
}

}  // namespace ophis
