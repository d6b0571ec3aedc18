// What one wide access to memory moves.
#pragma once

#include <cstdint>

namespace ophis::gpu {

/// N neighbouring elements as they are moved: in whole registers, which compilers would split if they were an
/// array of 16-bit lanes.
template <class T, int N>
struct Packed {
  static constexpr int count = N * static_cast<int>(sizeof(T)) / 4;
  static_assert(count == 2 || count == 4, "accesses are of 8 or 16 bytes");
  std::uint32_t words[count];
};

/// The bytes of the widest access, and the elements of type T in it.
inline constexpr int vector_bytes = 16;
template <class T>
inline constexpr int vector_width = vector_bytes / static_cast<int>(sizeof(T));

}  // namespace ophis::gpu
