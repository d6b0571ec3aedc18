// Memory that a caller gives back by ophis_free.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string_view>

namespace ophis::c {

/// A copy of the values, for the caller; never null.
template <class T>
T* hand_over(std::span<const T> values, std::size_t room = 0) {
  auto* const memory =
      static_cast<T*>(std::calloc(std::max<std::size_t>(values.size() + room, 1), sizeof(T)));
  if (memory == nullptr) throw std::bad_alloc();
  if (!values.empty()) std::memcpy(memory, values.data(), values.size_bytes());
  return memory;
}

/// A copy of the text that ends with a zero.
inline char* hand_over_text(std::string_view text) { return hand_over(std::span<const char>(text), 1); }

}  // namespace ophis::c
