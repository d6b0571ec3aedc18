#include "ophis/models/checkpoint.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "models/src/checkpoint_file.hpp"
#include "models/src/gguf/gguf_reader.hpp"
#include "models/src/json.hpp"
#include "models/src/mapped_file.hpp"
#include "models/src/pytorch_bin_reader.hpp"
#include "models/src/safetensors_reader.hpp"
#include "models/src/similar_names.hpp"
#include "ophis/core/buffer.hpp"

namespace ophis {
namespace {

namespace fs = std::filesystem;

FileContents read_file(CheckpointFormat format, std::span<const std::byte> content,
                       const std::string& origin) {
  switch (format) {
    case CheckpointFormat::pytorch_bin:
      return read_pytorch_bin(content, origin);
    case CheckpointFormat::gguf:
      return read_gguf(content, origin);
    default:
      return read_safetensors(content, origin);
  }
}

}  // namespace

struct Checkpoint::Impl {
  struct Entry {
    TensorRecord record;
    std::size_t file = 0;  ///< index into paths and maps
  };

  void open_single(const fs::path& path);
  void open_shards(const fs::path& index);
  FileContents map_file(const fs::path& path);
  void add(TensorRecord record);
  void index_names();
  const Entry& find(std::string_view name) const;
  const std::byte* region(const Entry& entry);

  std::vector<fs::path> paths;
  std::vector<MappedFile> maps;
  std::vector<std::string> names;
  std::vector<Entry> entries;  ///< in the order of names
  std::unordered_map<std::string_view, std::size_t> by_name;
  std::map<std::string, std::string> metadata;
  std::uint64_t total_bytes = 0;
  CheckpointFormat format = CheckpointFormat::safetensors;

  /// Aligned copies of regions (by file and offset) that are not aligned in the file, made when first asked
  /// for.
  std::map<std::pair<std::size_t, std::uint64_t>, Buffer> copies;
  std::mutex copies_mutex;
};

void Checkpoint::Impl::open_single(const fs::path& path) {
  FileContents contents = map_file(path);
  for (TensorRecord& record : contents.tensors) add(std::move(record));
}

void Checkpoint::Impl::open_shards(const fs::path& index) {
  std::map<std::string, std::set<std::string>> shards = read_shard_index(index);
  for (auto& [file, wanted] : shards) {
    const fs::path path = index.parent_path() / file;
    std::error_code error;
    if (!fs::exists(path, error)) {
      fail(ErrorCode::not_found, "no file ", path.string(), ", which ", index.string(), " names for ",
           wanted.size(), " tensors");
    }
    FileContents contents = map_file(path);
    for (TensorRecord& record : contents.tensors) {
      if (wanted.erase(record.name) > 0) add(std::move(record));
    }
    if (!wanted.empty()) {
      fail(ErrorCode::not_found, path.string(), " has no tensor ", json_quoted(*wanted.begin()), ", which ",
           index.string(), " says it holds");
    }
  }
}

FileContents Checkpoint::Impl::map_file(const fs::path& path) {
  maps.emplace_back(path);
  paths.push_back(path);
  const std::span<const std::byte> bytes = maps.back().bytes();
  format = format_of(path, bytes);
  FileContents contents = read_file(format, bytes, path.string());
  metadata.merge(contents.metadata);
  return contents;
}

/// Adds a tensor of the file that was mapped last.
void Checkpoint::Impl::add(TensorRecord record) {
  total_bytes += record.bytes;
  names.push_back(record.name);
  entries.push_back({std::move(record), paths.size() - 1});
}

void Checkpoint::Impl::index_names() {
  for (std::size_t i = 0; i < names.size(); ++i) by_name.emplace(names[i], i);
}

const Checkpoint::Impl::Entry& Checkpoint::Impl::find(std::string_view name) const {
  const auto found = by_name.find(name);
  if (found != by_name.end()) return entries[found->second];
  std::string similar;
  for (const std::string& candidate : most_similar(name, names)) {
    similar += (similar.empty() ? "; similar names: " : ", ") + json_quoted(candidate);
  }
  std::string searched;
  for (const fs::path& path : paths) searched += (searched.empty() ? "" : ", ") + path.string();
  fail(ErrorCode::not_found, "no tensor ", json_quoted(name), " in ", searched, similar);
}

const std::byte* Checkpoint::Impl::region(const Entry& entry) {
  const TensorRecord& record = entry.record;
  const std::byte* const mapped = maps[entry.file].bytes().data() + record.region_offset;
  if (record.bytes == 0 || record.region_offset % size_of(*record.dtype) == 0) return mapped;
  const std::lock_guard lock(copies_mutex);
  Buffer& copy = copies[{entry.file, record.region_offset}];
  if (copy.data() == nullptr) {
    copy = Buffer(record.region_bytes);
    std::memcpy(copy.data(), mapped, record.region_bytes);
  }
  return static_cast<const std::byte*>(copy.data());
}

Checkpoint Checkpoint::open(const fs::path& path, const ProgressFn& progress) {
  std::error_code error;
  if (!fs::exists(path, error)) fail(ErrorCode::not_found, "no file or folder ", path.string());
  const fs::path file = fs::is_directory(path, error) ? require_checkpoint_file(path) : path;
  auto impl = std::make_unique<Impl>();
  if (file.extension() == ".json") {
    impl->open_shards(file);
  } else {
    impl->open_single(file);
  }
  impl->index_names();
  Checkpoint checkpoint(std::move(impl));
  if (progress) checkpoint.prefetch(progress);
  return checkpoint;
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&& other) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&& other) noexcept = default;
Checkpoint::~Checkpoint() = default;

const std::vector<std::string>& Checkpoint::names() const noexcept { return m_impl->names; }

bool Checkpoint::contains(std::string_view name) const { return m_impl->by_name.contains(name); }

Tensor Checkpoint::tensor(std::string_view name) const {
  const Impl::Entry& entry = m_impl->find(name);
  require_readable(entry.record, m_impl->paths[entry.file].string());
  return view_of(entry.record, m_impl->region(entry));
}

std::span<const std::byte> Checkpoint::bytes(std::string_view name) const {
  const Impl::Entry& entry = m_impl->find(name);
  const TensorRecord& record = entry.record;
  return m_impl->maps[entry.file].bytes().subspan(static_cast<std::size_t>(record.region_offset),
                                                  static_cast<std::size_t>(record.region_bytes));
}

CheckpointFormat Checkpoint::format() const noexcept { return m_impl->format; }

TensorInfo Checkpoint::info(std::string_view name) const {
  const Impl::Entry& entry = m_impl->find(name);
  const TensorRecord& record = entry.record;
  return {record.dtype ? to_string(*record.dtype) : record.file_dtype, record.shape, record.bytes,
          m_impl->paths[entry.file]};
}

const std::map<std::string, std::string>& Checkpoint::metadata() const noexcept { return m_impl->metadata; }

const std::vector<fs::path>& Checkpoint::files() const noexcept { return m_impl->paths; }

std::uint64_t Checkpoint::total_bytes() const noexcept { return m_impl->total_bytes; }

void Checkpoint::release(std::span<const std::byte> bytes) const {
  for (const MappedFile& map : m_impl->maps) {
    const std::span<const std::byte> file = map.bytes();
    const auto before = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(bytes.data()) -
                                                   reinterpret_cast<std::uintptr_t>(file.data()));
    if (before < file.size()) map.release(before, before + bytes.size());
  }
}

void Checkpoint::prefetch(const ProgressFn& progress, bool keep) const {
  constexpr std::uint64_t chunk_bytes = std::uint64_t{16} << 20;
  std::uint64_t total = 0;
  for (const MappedFile& map : m_impl->maps) total += map.bytes().size();
  std::uint64_t done = 0;
  if (progress) progress(done, total);
  for (const MappedFile& map : m_impl->maps) {
    for (std::uint64_t begin = 0; begin < map.bytes().size(); begin += chunk_bytes) {
      const std::uint64_t end = std::min<std::uint64_t>(begin + chunk_bytes, map.bytes().size());
      map.load(begin, end);
      if (!keep) map.release(begin, end);
      done += end - begin;
      if (progress) progress(done, total);
    }
  }
}

}  // namespace ophis
