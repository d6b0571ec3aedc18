// A file mapped into memory, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

namespace ophis {

/// Owns the map of a whole file. Move-only. The file must not be truncated while it is mapped.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws Error(not_found | io); only regular files are taken.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept : m_bytes(std::exchange(other.m_bytes, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(m_bytes, other.m_bytes);
    return *this;
  }

  /// Starts at a page boundary.
  std::span<const std::byte> bytes() const noexcept { return m_bytes; }

  /// Reads the pages of [begin, end) from the disk.
  void load(std::uint64_t begin, std::uint64_t end) const;
  /// Gives the pages of [begin, end), and those around it that came along with them, back to the system,
  /// which may keep them cached. They come back when they are touched.
  void release(std::uint64_t begin, std::uint64_t end) const;

 private:
  std::span<const std::byte> m_bytes;
};

}  // namespace ophis
