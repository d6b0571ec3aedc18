// The local cache of one model of the hub, in the layout of the Python package huggingface_hub, which may use
// it at the same time:
//
//   <cache>/models--owner--name/refs/<revision>            a text file: the commit of a branch or tag
//                               blobs/<etag>               a file's content
//                               blobs/<etag>.incomplete    what has come of it so far
//                               snapshots/<commit>/<file>  a relative link to the blob
//                               .no_exist/<commit>/<file>  an empty file: the commit has no such file
//   <cache>/.locks/models--owner--name/<etag>.lock         who holds its flock downloads that blob
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "hub/src/hub_id.hpp"

namespace ophis::hub {

/// The names that are given to it (revision, commit, file, etag) are safe as parts of a path. Functions that
/// write throw Error(io).
class HubCache {
 public:
  HubCache(const std::filesystem::path& root, const HubId& id);

  const std::filesystem::path& folder() const noexcept { return m_folder; }

  /// The commit that a revision stands for as far as the cache knows; a commit stands for itself.
  std::optional<std::string> commit_of(const std::string& revision) const;
  std::filesystem::path snapshot(const std::string& commit) const { return m_folder / "snapshots" / commit; }
  bool has(const std::string& commit, const std::string& file) const;
  /// Whether it is known that the commit has no such file.
  bool lacks(const std::string& commit, const std::string& file) const;

  std::filesystem::path blob(const std::string& etag) const { return m_folder / "blobs" / etag; }
  std::filesystem::path partial_blob(const std::string& etag) const;

  void set_commit(const std::string& revision, const std::string& commit) const;
  void set_lacks(const std::string& commit, const std::string& file) const;
  /// Makes the file of a snapshot a link to a blob; where the file system has no links the blob is moved
  /// there.
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;

 private:
  friend class BlobLock;
  std::filesystem::path m_folder, m_locks;
};

/// While it lives no other thread or process downloads the blob. Neither copied nor moved.
class BlobLock {
 public:
  /// Waits for the blob's present owner, and calls `waiting`, which may throw, every now and then. Throws
  /// Error(io).
  BlobLock(const HubCache& cache, const std::string& etag, const std::function<void()>& waiting);
  ~BlobLock();
  BlobLock(const BlobLock&) = delete;
  BlobLock& operator=(const BlobLock&) = delete;

 private:
  int m_descriptor;
};

/// Throws Error(io) that names the path unless the folder is there afterwards.
void create_folder(const std::filesystem::path& path);

}  // namespace ophis::hub
