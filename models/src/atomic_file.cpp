#include "models/src/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <utility>

#include "ophis/core/error.hpp"

namespace ophis {
namespace {

constexpr std::size_t pending_bytes = std::size_t{1} << 20;

[[noreturn]] void fail_to_write(const std::filesystem::path& path) {
  const int number = errno;
  fail(number == ENOENT || number == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, "could not write ",
       path.string(), ": ", std::generic_category().message(number));
}

/// A name that no other thread or process of this host takes at the same time.
std::string temporary_name(const std::filesystem::path& path) {
  static std::atomic<std::uint64_t> counter{0};
  return path.string() + ".part-" + std::to_string(::getpid()) + '-' + std::to_string(counter++);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : m_path(std::move(path)) {
  m_pending.reserve(pending_bytes);
  do {
    m_temporary = temporary_name(m_path);
    m_descriptor = ::open(m_temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (m_descriptor < 0 && errno == EEXIST);
  if (m_descriptor < 0) fail_to_write(m_path);
}

AtomicFile::~AtomicFile() {
  if (m_descriptor >= 0) ::close(m_descriptor);
  if (!m_temporary.empty()) ::unlink(m_temporary.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (m_pending.size() + bytes.size() > pending_bytes) flush();
  if (bytes.size() >= pending_bytes) {
    write_through(bytes);
  } else {
    m_pending.insert(m_pending.end(), bytes.begin(), bytes.end());
  }
}

void AtomicFile::commit() {
  flush();
  if (::fsync(m_descriptor) != 0) fail_to_write(m_path);
  if (::close(std::exchange(m_descriptor, -1)) != 0) fail_to_write(m_path);
  if (::rename(m_temporary.c_str(), m_path.c_str()) != 0) fail_to_write(m_path);
  m_temporary.clear();
}

void AtomicFile::flush() {
  write_through(m_pending);
  m_pending.clear();
}

void AtomicFile::write_through(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(m_descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_to_write(m_path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace ophis
