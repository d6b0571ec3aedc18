#include "hub/src/hub_cache.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>

#include "ophis/core/error.hpp"

namespace ophis::hub {
namespace {

namespace fs = std::filesystem;

bool is_commit(const std::string& revision) {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// A name beside `path` that no other thread or process of this host takes at the same time.
fs::path temporary_beside(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  fs::path temporary = path;
  temporary += ".tmp-" + std::to_string(::getpid()) + '-' + std::to_string(counter++);
  return temporary;
}

void move(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error)
    fail(ErrorCode::io, "could not rename ", from.string(), " to ", to.string(), ": ", error.message());
}

/// A text file that appears whole; one that says so already is left alone, since the cache may be read-only.
void write_text(const fs::path& path, const std::string& text) {
  std::ifstream present(path, std::ios::binary);
  if (present && std::string(std::istreambuf_iterator<char>(present), {}) == text) return;
  create_folder(path.parent_path());
  const fs::path temporary = temporary_beside(path);
  std::ofstream file(temporary, std::ios::binary);
  file << text;
  file.close();
  if (!file) {
    std::error_code error;
    fs::remove(temporary, error);
    fail(ErrorCode::io, "could not write ", path.string());
  }
  move(temporary, path);
}

}  // namespace

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(ErrorCode::io, "could not create the folder ", path.string(), ": ", error.message());
}

HubCache::HubCache(const fs::path& root, const HubId& id) {
  const std::string name = "models--" + id.owner + "--" + id.name;
  m_folder = root / name;
  m_locks = root / ".locks" / name;
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  std::ifstream file(m_folder / "refs" / revision);
  std::string commit;
  std::getline(file, commit);
  if (!is_plain_name(commit)) return std::nullopt;
  return commit;
}

bool HubCache::has(const std::string& commit, const std::string& file) const {
  std::error_code error;
  return fs::is_regular_file(snapshot(commit) / file, error);
}

bool HubCache::lacks(const std::string& commit, const std::string& file) const {
  std::error_code error;
  return fs::exists(m_folder / ".no_exist" / commit / file, error);
}

fs::path HubCache::partial_blob(const std::string& etag) const { return blob(etag + ".incomplete"); }

void HubCache::set_commit(const std::string& revision, const std::string& commit) const {
  if (revision != commit) write_text(m_folder / "refs" / revision, commit);
}

void HubCache::set_lacks(const std::string& commit, const std::string& file) const {
  write_text(m_folder / ".no_exist" / commit / file, "");
}

void HubCache::link(const std::string& commit, const std::string& file, const std::string& etag) const {
  const fs::path path = snapshot(commit) / file;
  create_folder(path.parent_path());
  const fs::path temporary = temporary_beside(path);
  std::error_code error;
  fs::create_symlink(blob(etag).lexically_relative(path.parent_path()), temporary, error);
  move(error ? blob(etag) : temporary, path);
}

BlobLock::BlobLock(const HubCache& cache, const std::string& etag, const std::function<void()>& waiting) {
  create_folder(cache.m_locks);
  const fs::path path = cache.m_locks / (etag + ".lock");
  m_descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  try {
    while (m_descriptor < 0 || ::flock(m_descriptor, LOCK_EX | LOCK_NB) != 0) {
      const int number = errno;
      if (m_descriptor < 0 || (number != EWOULDBLOCK && number != EINTR)) {
        fail(ErrorCode::io, "could not lock ", path.string(), ": ", std::generic_category().message(number));
      }
      waiting();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  } catch (...) {
    if (m_descriptor >= 0) ::close(m_descriptor);
    throw;
  }
}

BlobLock::~BlobLock() { ::close(m_descriptor); }

}  // namespace ophis::hub
