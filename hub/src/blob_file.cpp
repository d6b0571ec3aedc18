#include "hub/src/blob_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "ophis/core/error.hpp"

namespace ophis::hub {

BlobFile::BlobFile(std::filesystem::path path) : m_path(std::move(path)) {
  m_descriptor = ::open(m_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (m_descriptor < 0) fail_with("open");
  const off_t end = ::lseek(m_descriptor, 0, SEEK_END);
  if (end < 0) {
    ::close(m_descriptor);
    fail_with("open");
  }
  m_bytes = static_cast<std::uint64_t>(end);
}

BlobFile::~BlobFile() { ::close(m_descriptor); }

void BlobFile::fail_with(const char* what) const {
  const int number = errno;
  fail(ErrorCode::io, "could not ", what, ' ', m_path.string(), ": ",
       std::generic_category().message(number));
}

void BlobFile::append(std::string_view piece) {
  while (!piece.empty()) {
    const ssize_t written = ::write(m_descriptor, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with("write");
    piece.remove_prefix(static_cast<std::size_t>(written));
    m_bytes += static_cast<std::uint64_t>(written);
  }
}

void BlobFile::truncate(std::uint64_t bytes) {
  const auto end = static_cast<off_t>(bytes);
  if (::ftruncate(m_descriptor, end) != 0 || ::lseek(m_descriptor, end, SEEK_SET) != end) fail_with("write");
  m_bytes = bytes;
}

std::string BlobFile::sha256() const {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  bool ok = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  std::vector<char> buffer(std::size_t{1} << 20);
  for (std::uint64_t at = 0; ok && at < m_bytes;) {
    const ssize_t count = ::pread(m_descriptor, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail_with("read");
    ok = EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(count)) == 1;
    at += static_cast<std::uint64_t>(count);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  ok = ok && EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1;
  if (!ok) fail(ErrorCode::internal, "OpenSSL could not compute a SHA-256");
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr const char* digits = "0123456789abcdef";
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  return text;
}

void BlobFile::move_to(const std::filesystem::path& path) {
  if (::fsync(m_descriptor) != 0) fail_with("write");
  if (::rename(m_path.c_str(), path.c_str()) != 0) fail_with("rename");
  m_path = path;
}

void BlobFile::remove() {
  if (::unlink(m_path.c_str()) != 0) fail_with("remove");
}

}  // namespace ophis::hub
