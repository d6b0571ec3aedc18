// Structs whose first member is their size as the caller knows them. A later version appends members behind
// the end of the struct as it was (not into its padding), whose zero means what was before.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "interfaces/c/src/errors.hpp"

namespace ophis::c {

/// Throws Error(invalid_argument) unless `size` can be that of a struct that starts with it.
inline void check_size(std::size_t size) {
  // No struct will ever be as large: what is, was never set.
  constexpr std::size_t largest = 4096;
  OPHIS_REQUIRE(size >= sizeof(std::size_t) && size <= largest && size % alignof(std::size_t) == 0,
                "the struct's size is ", size, ", but must be its sizeof; the _init functions set it");
}

/// A caller's struct of any version as this version knows it; what an older one lacks is zero. Throws
/// Error(unsupported) if a newer one uses a member that this version does not know.
template <class Struct>
Struct read_sized(const Struct& given) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  check_size(given.size);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&given);
  if (given.size > sizeof(Struct) &&
      std::any_of(bytes + sizeof(Struct), bytes + given.size, [](unsigned char byte) { return byte != 0; })) {
    fail(ErrorCode::unsupported, "a member behind the ", sizeof(Struct),
         " bytes that this version of the struct has is set; the library is older than its caller's header");
  }
  Struct result{};
  std::memcpy(&result, bytes, std::min(given.size, sizeof(Struct)));
  result.size = sizeof(Struct);
  return result;
}

/// Writes as much of `values` as the caller's struct of `size` bytes has room for, and zeros behind it.
template <class Struct>
void write_sized(const Struct& values, Struct& to, std::size_t size) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  check_size(size);
  std::memset(static_cast<void*>(&to), 0, size);
  std::memcpy(static_cast<void*>(&to), &values, std::min(size, sizeof(Struct)));
  to.size = size;
}

}  // namespace ophis::c
