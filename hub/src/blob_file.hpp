// The content of a file while it comes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ophis::hub {

/// A file that grows, and stays when its writer ends early. Throws Error(io). Neither copied nor moved.
class BlobFile {
 public:
  /// Goes on with what is there.
  explicit BlobFile(std::filesystem::path path);
  ~BlobFile();
  BlobFile(const BlobFile&) = delete;
  BlobFile& operator=(const BlobFile&) = delete;

  std::uint64_t bytes() const noexcept { return m_bytes; }
  void append(std::string_view piece);
  void truncate(std::uint64_t bytes);
  /// Of the whole content, in hexadecimal digits.
  std::string sha256() const;
  /// Everything is on the disk, under the new name.
  void move_to(const std::filesystem::path& path);
  void remove();

 private:
  [[noreturn]] void fail_with(const char* what) const;

  std::filesystem::path m_path;
  int m_descriptor;
  std::uint64_t m_bytes = 0;
};

}  // namespace ophis::hub
