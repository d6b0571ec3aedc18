#include "models/src/tensor_record.hpp"

#include <bit>
#include <limits>

#include "models/src/json.hpp"

namespace ophis {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are mapped as they are: little-endian");

std::optional<std::uint64_t> checked_count(std::span<const std::int64_t> shape) {
  constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max() / 16;
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
    } else if (product > limit / extent) {
      return std::nullopt;
    } else {
      product *= extent;
    }
  }
  return empty ? 0 : static_cast<std::uint64_t>(product);
}

void require_readable(const TensorRecord& record, std::string_view origin) {
  if (!record.dtype) {
    fail(ErrorCode::unsupported, origin, ": tensor ", json_quoted(record.name), " has dtype ",
         json_quoted(record.file_dtype), ", which Ophis cannot read");
  }
  if (record.shape.size() > Dims::max_rank) {
    fail(ErrorCode::unsupported, origin, ": tensor ", json_quoted(record.name), " has ", record.shape.size(),
         " axes; at most ", Dims::max_rank, " are supported");
  }
}

Tensor view_of(const TensorRecord& record, const std::byte* region) {
  // Tensor knows no constness; the map itself is read-only.
  void* const data = const_cast<std::byte*>(region) + record.first_element;
  const Dims shape{std::span<const std::int64_t>(record.shape)};
  if (record.strides.empty()) return Tensor(data, *record.dtype, shape);
  return Tensor(data, *record.dtype, shape, Dims(std::span<const std::int64_t>(record.strides)));
}

void reject_lfs_pointer(std::span<const std::byte> file, std::string_view origin) {
  constexpr std::string_view pointer_start = "version https://git-lfs";
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.starts_with(pointer_start)) {
    fail(ErrorCode::corrupt_data, origin,
         " is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`");
  }
}

}  // namespace ophis
