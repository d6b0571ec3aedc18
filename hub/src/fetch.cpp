#include "hub/src/fetch.hpp"

#include <chrono>
#include <system_error>
#include <thread>

#include "hub/src/blob_file.hpp"
#include "hub/src/model_files.hpp"
#include "hub/src/remote_model.hpp"
#include "ophis/core/error.hpp"

namespace ophis::hub {
namespace {

namespace fs = std::filesystem;

/// Without a byte coming in between.
constexpr int max_failures = 5;
/// Of files that describe a model; tokenizers of large vocabularies have some 30 MB.
constexpr std::uint64_t max_json_bytes = std::uint64_t{256} << 20;

bool is_sha256(const std::string& etag) {
  return etag.size() == 64 && etag.find_first_not_of("0123456789abcdef") == std::string::npos;
}

class Fetch {
 public:
  Fetch(RemoteModel& remote, const HubCache& cache, const ResolveOptions& options)
      : m_remote(remote), m_cache(cache), m_options(options) {}

  Presence take(const std::string& name);

 private:
  void require_sane_size(const RemoteFile& file) const;
  void require_space(const RemoteFile& file, std::uint64_t present) const;
  void download(const RemoteFile& file);
  void receive(const RemoteFile& file, BlobFile& blob);
  void receive_rest(const RemoteFile& file, BlobFile& blob);
  void check(const RemoteFile& file, BlobFile& blob) const;
  void report(const RemoteFile& file, std::uint64_t done) const {
    if (m_options.progress) m_options.progress({file.name, done, file.bytes});
  }

  RemoteModel& m_remote;
  const HubCache& m_cache;
  const ResolveOptions& m_options;
};

/// Has the file in the cache, if the model has it at all.
Presence Fetch::take(const std::string& name) {
  if (!m_remote.commit().empty()) {
    if (m_cache.has(m_remote.commit(), name)) return Presence::there;
    if (m_cache.lacks(m_remote.commit(), name)) return Presence::absent;
  }
  const std::optional<RemoteFile> file = m_remote.find(name);
  if (!file) {
    if (!m_remote.commit().empty()) m_cache.set_lacks(m_remote.commit(), name);
    return Presence::absent;
  }
  if (!m_cache.has(m_remote.commit(), name)) download(*file);
  return Presence::there;
}

void Fetch::require_sane_size(const RemoteFile& file) const {
  if (file.name.ends_with(".json") && file.bytes > max_json_bytes) {
    fail(ErrorCode::corrupt_data, file.name, " has ", file.bytes, " bytes as the server says; at most ",
         max_json_bytes, " are expected");
  }
}

void Fetch::require_space(const RemoteFile& file, std::uint64_t present) const {
  std::error_code error;
  const fs::space_info space = fs::space(m_cache.folder(), error);
  if (!error && file.bytes > present && file.bytes - present > space.available) {
    fail(ErrorCode::io, file.name, " has ", file.bytes, " bytes, but the file system of ",
         m_cache.folder().string(), " has room for ", space.available,
         " only; HF_HOME or HF_HUB_CACHE name a folder elsewhere");
  }
}

void Fetch::download(const RemoteFile& file) {
  require_sane_size(file);
  const fs::path path = m_cache.blob(file.etag);
  create_folder(path.parent_path());
  const BlobLock lock(m_cache, file.etag, [&] { report(file, 0); });
  // Somebody else may have brought it meanwhile, or another revision may have the same file.
  std::error_code error;
  if (fs::file_size(path, error) != file.bytes || error) {
    BlobFile blob(m_cache.partial_blob(file.etag));
    if (blob.bytes() > file.bytes) blob.truncate(0);
    require_space(file, blob.bytes());
    receive(file, blob);
    check(file, blob);
    blob.move_to(path);
  }
  m_cache.link(m_remote.commit(), file.name, file.etag);
}

/// Asks again where the connection was cut, as long as something comes.
void Fetch::receive(const RemoteFile& file, BlobFile& blob) {
  report(file, blob.bytes());
  for (int failures = 0; blob.bytes() < file.bytes;) {
    const std::uint64_t before = blob.bytes();
    try {
      receive_rest(file, blob);
      if (blob.bytes() < file.bytes) throw NetworkError("the connection was cut", true);
    } catch (const NetworkError& error) {
      failures = blob.bytes() > before ? 1 : failures + 1;
      if (failures == max_failures) {
        throw NetworkError(
            detail::concat(file.name, ": ", error.what(), "; ", blob.bytes(), " of ", file.bytes,
                           " bytes are kept, the next download goes on from there"),
            error.reached());
      }
      report(file, blob.bytes());
      std::this_thread::sleep_for(std::chrono::milliseconds(250 << failures));
    }
  }
}

void Fetch::receive_rest(const RemoteFile& file, BlobFile& blob) {
  m_remote.read(
      file, blob.bytes(), [&](std::uint64_t first) { blob.truncate(first); },
      [&](std::string_view piece) {
        if (piece.size() > file.bytes - blob.bytes()) {
          blob.remove();
          fail(ErrorCode::corrupt_data, file.name, " should have ", file.bytes,
               " bytes, but the server sends more; what came was removed");
        }
        blob.append(piece);
        report(file, blob.bytes());
      });
}

/// The etag of a large file is its SHA-256.
void Fetch::check(const RemoteFile& file, BlobFile& blob) const {
  if (!is_sha256(file.etag)) return;
  const std::string sha256 = blob.sha256();
  if (sha256 == file.etag) return;
  blob.remove();
  fail(ErrorCode::corrupt_data, file.name, " has SHA-256 ", sha256, ", but should have ", file.etag,
       "; what came was removed, so that the next download begins anew");
}

}  // namespace

fs::path fetch_model(const HubId& id, const std::string& revision, const ResolveOptions& options,
                     const Settings& settings, const HubCache& cache) {
  RemoteModel remote(id, revision, settings);
  Fetch fetch(remote, cache, options);
  const FoundFiles found = find_model_files(
      options.files, [&](const std::string& file) { return fetch.take(file); },
      [&](const std::string& file) { return cache.snapshot(remote.commit()) / file; });
  if (!found.missing.empty()) {
    fail(ErrorCode::not_found, "'", id.repo(), "' (revision ", revision, ") at ", settings.endpoint,
         " has no ", found.missing);
  }
  // Only now, so that a model that was whole stays in use until the new one is.
  cache.set_commit(revision, remote.commit());
  return cache.snapshot(remote.commit());
}

}  // namespace ophis::hub
