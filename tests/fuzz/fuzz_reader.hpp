// What the fuzzers of all checkpoint formats do with an input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/src/tensor_record.hpp"
#include "ophis/core/error.hpp"
#include "tests/support/checkpoint_files.hpp"

namespace ophis::test {

/// Reads the file in memory with `read` and then every element of every tensor. Errors of type ophis::Error
/// are the expected answer to broken input; anything else is for the fuzzer to report.
template <class Read>
void fuzz_reader(const std::uint8_t* data, std::size_t size, Read&& read) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  try {
    std::uint64_t work = 0;
    for (const TensorRecord& record : read(file, "input").tensors) {
      work += record.bytes;
      if (!record.dtype || record.shape.size() > Dims::max_rank || work > 100 * size) continue;
      // A copy of the region at an aligned address, as Checkpoint makes one, and exactly as large for the
      // sanitizer.
      const std::byte* const region = file.data() + record.region_offset;
      const std::vector<std::byte> copy(region, region + record.region_bytes);
      static_cast<void>(byte_sum(view_of(record, copy.data())));
    }
  } catch (const Error&) {
  }
}

}  // namespace ophis::test
