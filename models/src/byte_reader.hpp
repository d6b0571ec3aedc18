// Reading little-endian values from bytes that nobody has checked.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ophis/core/error.hpp"

namespace ophis {

/// A position in a range of bytes. Every read is checked against the end and throws Error(corrupt_data) that
/// names `origin`, which must outlive the reader.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view origin, std::uint64_t position = 0)
      : m_bytes(bytes), m_origin(origin), m_position(position) {
    if (position > bytes.size()) fail_at_end(0);
  }

  std::uint64_t position() const noexcept { return m_position; }
  std::uint64_t remaining() const noexcept { return m_bytes.size() - m_position; }

  std::string_view take(std::uint64_t count) {
    if (count > remaining()) fail_at_end(count);
    const char* const first = reinterpret_cast<const char*>(m_bytes.data()) + m_position;
    m_position += count;
    return {first, static_cast<std::size_t>(count)};
  }

  /// What was read since an earlier position().
  std::span<const std::byte> since(std::uint64_t begin) const {
    return m_bytes.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(m_position - begin));
  }

  template <std::unsigned_integral T>
  T read() {
    T value = 0;
    int shift = 0;
    for (const char c : take(sizeof(T))) {
      value = static_cast<T>(value | (static_cast<T>(static_cast<unsigned char>(c)) << shift));
      shift += 8;
    }
    return value;
  }

 private:
  [[noreturn]] void fail_at_end(std::uint64_t count) const {
    fail(ErrorCode::corrupt_data, m_origin, " is truncated or corrupt: ", count, " bytes wanted at offset ",
         m_position, " of ", m_bytes.size());
  }

  std::span<const std::byte> m_bytes;
  std::string_view m_origin;
  std::uint64_t m_position;
};

}  // namespace ophis
