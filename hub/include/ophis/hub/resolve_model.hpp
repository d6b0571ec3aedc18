// Models by name: a folder, or the id of a model on the Hugging Face hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace ophis {

/// How far the download of one file is.
struct DownloadProgress {
  std::string_view file;          ///< its name in the model
  std::uint64_t done_bytes = 0;   ///< with those of an earlier, interrupted download
  std::uint64_t total_bytes = 0;  ///< of the whole file
};

/// Which of a model's files are wanted.
enum class ModelFiles {
  all,       ///< configuration, weights, and the tokenizer where there is one
  tokenizer  ///< tokenizer.json
};

struct ResolveOptions {
  std::string revision = {};  ///< branch, tag or commit; empty: the one in the name, or else "main"
  ModelFiles files = ModelFiles::all;
  bool refresh = false;  ///< ask the hub where the revision is now, even if the cache has all files
  /// Told how far each download is, if given. An exception that it throws stops the download; what has come
  /// is kept, and the next call goes on from there.
  std::function<void(const DownloadProgress&)> progress = {};
};

/// Whether `name` has the form of a hub id, "owner/name" or "owner/name@revision".
bool is_hub_id(std::string_view name);

/// The folder that holds a model's files.
///
/// A file or folder called `name` is returned as it is. Otherwise `name` is the id of a model on the hub,
/// such as "state-spaces/mamba-130m-hf" or "state-spaces/mamba-130m-hf@refs/pr/1": its files are taken from
/// the local cache, which is that of the Python package huggingface_hub, and those that are missing there are
/// downloaded to it. A file appears in the cache only when it is whole and checked; an interrupted download
/// is resumed. Several threads and processes may ask for one model at once.
///
/// The environment says where: HF_HUB_CACHE (or HUGGINGFACE_HUB_CACHE), HF_HOME, XDG_CACHE_HOME, HF_ENDPOINT,
/// HF_TOKEN (or the token that `hf auth login` left), HF_HUB_OFFLINE; and what libcurl reads, such as
/// HTTPS_PROXY.
///
/// Throws Error: not_found (neither a folder nor a model on the hub, or one without the files that are
/// wanted), invalid_argument (a revision for a folder, or one that cannot be), unsupported (this build cannot
/// download), io (no connection, access refused, no space on the disk), corrupt_data (what the hub sent
/// contradicts itself).
std::filesystem::path resolve_model(const std::string& name, const ResolveOptions& options = {});

}  // namespace ophis
