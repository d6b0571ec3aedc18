// Where the entries of a zip archive lie. Only the directory is read: PyTorch stores its entries
// uncompressed, so that their bytes can be used in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ophis {

struct ZipEntry {
  std::string_view name;          ///< points into the archive
  std::uint64_t offset = 0;       ///< of the content, from the start of the archive
  std::uint64_t bytes = 0;        ///< as it lies in the archive
  std::uint16_t compression = 0;  ///< 0: stored as it is
  bool encrypted = false;
};

/// The directory of an archive in memory, which must outlive it. ZIP64 is supported.
/// (APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3)
class ZipDirectory {
 public:
  /// Checks that all entries lie in the archive without overlap. Throws Error: corrupt_data, unsupported (an
  /// archive in several parts), naming `origin`, which must outlive the directory.
  ZipDirectory(std::span<const std::byte> archive, std::string_view origin);

  const std::vector<ZipEntry>& entries() const noexcept { return m_entries; }

  /// nullptr if there is none.
  const ZipEntry* find(std::string_view name) const;

  /// The content of a stored entry. Throws Error(unsupported) if it is compressed or encrypted.
  std::span<const std::byte> content(const ZipEntry& entry) const;

 private:
  struct Location {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::uint64_t entries;
  };
  Location locate() const;
  Location locate_zip64(std::uint64_t end_record, const Location& fallback) const;
  void read_entries(const Location& directory);
  void check_overlap(std::vector<std::pair<std::uint64_t, std::size_t>> starts,
                     std::uint64_t directory) const;

  std::span<const std::byte> m_archive;
  std::string_view m_origin;
  std::vector<ZipEntry> m_entries;
  std::unordered_map<std::string_view, std::size_t> m_by_name;
};

}  // namespace ophis
