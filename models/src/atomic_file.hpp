// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace ophis {

/// Writes to a new file beside `path`; commit() renames it to `path`, replacing an older file. Without
/// commit() it is removed. Neither copied nor moved.
class AtomicFile {
 public:
  /// Throws Error(not_found) if the folder is missing, Error(io).
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws Error(io), e.g. on a full disk.
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  void flush();
  void write_through(std::span<const std::byte> bytes);

  std::filesystem::path m_path;
  std::string m_temporary;  ///< empty once renamed
  int m_descriptor = -1;
  std::vector<std::byte> m_pending;
};

}  // namespace ophis
