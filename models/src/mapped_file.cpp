#include "models/src/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

#include "ophis/core/buffer.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace {

[[noreturn]] void fail_with_errno(const char* action, const std::filesystem::path& path) {
  const int number = errno;
  fail(number == ENOENT || number == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, "could not ", action,
       ' ', path.string(), ": ", std::generic_category().message(number));
}

/// An open file; the map stays valid after it is closed.
class Descriptor {
 public:
  // O_NONBLOCK: opening a named pipe would otherwise wait for its writer.
  explicit Descriptor(const std::filesystem::path& path)
      : m_number(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (m_number < 0) fail_with_errno("open", path);
  }
  ~Descriptor() { ::close(m_number); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const noexcept { return m_number; }

 private:
  int m_number;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(path);
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) fail_with_errno("examine", path);
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::io, path.string(), " is not a regular file");
  if (status.st_size == 0) return;  // mmap refuses an empty range
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > std::numeric_limits<std::size_t>::max() / 2) {
    fail(ErrorCode::io, path.string(), " is too large to map: ", size, " bytes");
  }
  void* const data =
      ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (data == MAP_FAILED) fail_with_errno("map", path);
  m_bytes = {static_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

MappedFile::~MappedFile() {
  if (!m_bytes.empty()) ::munmap(const_cast<std::byte*>(m_bytes.data()), m_bytes.size());
}

void MappedFile::load(std::uint64_t begin, std::uint64_t end) const {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  begin = begin / page * page;
  end = std::min<std::uint64_t>(end, m_bytes.size());
  if (begin >= end) return;
  // Only advice: where it is refused, touching the pages still reads them.
  ::madvise(const_cast<std::byte*>(m_bytes.data()) + begin, static_cast<std::size_t>(end - begin),
            MADV_WILLNEED);
  const volatile std::byte* const data = m_bytes.data();
  for (std::uint64_t offset = begin; offset < end; offset += page) static_cast<void>(data[offset]);
}

void MappedFile::release(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return;
  // Touching a page has the system map those around it, at most as many as make a huge page.
  const auto file = reinterpret_cast<std::uintptr_t>(m_bytes.data());
  const std::uintptr_t first = (file + begin) / huge_page_bytes * huge_page_bytes;
  const std::uintptr_t last = (file + end + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  const std::uint64_t from = std::max(first, file) - file;
  const std::uint64_t to = std::min<std::uint64_t>(last - file, m_bytes.size());
  ::madvise(const_cast<std::byte*>(m_bytes.data()) + from, static_cast<std::size_t>(to - from),
            MADV_DONTNEED);
}

}  // namespace ophis
