// What the readers of all formats find out about a tensor in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// A tensor in a file. The readers have checked that every element lies in its region, the region in the
/// file, and that no product of the non-zero extents overflows int64.
struct TensorRecord {
  std::string name;
  std::string file_dtype;             ///< as the file spells it
  std::optional<DType> dtype;         ///< absent: the file may hold it, Ophis cannot read it
  std::vector<std::int64_t> shape;    ///< may have more axes than Dims::max_rank
  std::vector<std::int64_t> strides;  ///< in elements; empty: dense, row-major
  std::uint64_t bytes = 0;            ///< elements times the size of one
  std::uint64_t region_offset = 0;  ///< bytes from the start of the file to the memory that the tensor views
  std::uint64_t region_bytes = 0;   ///< its size; tensors may share a region but regions never overlap
  std::uint64_t first_element = 0;  ///< bytes from the region's start to the first element
};

struct FileContents {
  std::vector<TensorRecord> tensors;
  std::map<std::string, std::string> metadata;
};

/// The number of elements, or nothing if an extent is negative or the product of the non-zero extents exceeds
/// what contiguous strides in int64 bytes can express.
std::optional<std::uint64_t> checked_count(std::span<const std::int64_t> shape);

/// Throws Error(unsupported) that names `origin` if Ophis lacks the tensor's dtype or rank.
void require_readable(const TensorRecord& record, std::string_view origin);

/// A readable tensor, where `region` points to its region's bytes.
Tensor view_of(const TensorRecord& record, const std::byte* region);

/// Throws Error(corrupt_data) that says so if the bytes are a Git LFS pointer, not the file itself.
void reject_lfs_pointer(std::span<const std::byte> file, std::string_view origin);

}  // namespace ophis
