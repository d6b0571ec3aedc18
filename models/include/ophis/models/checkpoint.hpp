// Reading checkpoints: safetensors and PyTorch's pytorch_model.bin, in one file or in shards, and GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// Told how far a long operation is, in bytes. An exception that it throws stops the operation.
using ProgressFn = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

/// How a checkpoint's files are written; shards are all alike.
enum class CheckpointFormat { safetensors, pytorch_bin, gguf };

/// What a checkpoint says about one tensor. It is there also for tensors that Ophis cannot read.
struct TensorInfo {
  std::string dtype;  ///< "float32", ...; a dtype that Ophis lacks as the file spells it: "F8_E4M3", "Q4_K"
  std::vector<std::int64_t> shape;  ///< may have more axes than Dims::max_rank
  std::uint64_t bytes = 0;          ///< of its elements in the file
  std::filesystem::path file;       ///< the file that holds it
};

/// The tensors of a checkpoint. The files are mapped into memory, read-only: opening one costs little, and
/// the data are read from the disk as they are touched. The content is checked when the checkpoint is opened.
///
/// Every Tensor points into the maps and must not be written to. The Checkpoint must outlive all of its
/// tensors. The const functions may be called from several threads at once.
class Checkpoint {
 public:
  /// Opens a folder or a file. In a folder the first of these is taken: model.safetensors,
  /// model.safetensors.index.json, consolidated.safetensors, pytorch_model.bin, pytorch_model.bin.index.json;
  /// or its only file *.gguf. A file is read by its name (.safetensors; .bin, .pt, .pth; .gguf; .index.json
  /// for shards), or else by its content. With `progress` the data are also read ahead, as prefetch() does.
  ///
  /// Throws Error: not_found (no such file, or a shard is missing), corrupt_data (the content contradicts the
  /// format), unsupported (a pickle that holds more than tensors, a compressed archive, a GGUF file in
  /// parts), io, invalid_argument (a folder with several files *.gguf and nothing else).
  static Checkpoint open(const std::filesystem::path& path, const ProgressFn& progress = {});

  Checkpoint(Checkpoint&& other) noexcept;
  Checkpoint& operator=(Checkpoint&& other) noexcept;
  ~Checkpoint();

  /// In the order of the files.
  const std::vector<std::string>& names() const noexcept;
  /// Whether there is a tensor of that name.
  bool contains(std::string_view name) const;

  /// A view of one tensor. It may be strided when it comes from a pytorch_model.bin.
  /// Throws Error: not_found (with the most similar names), unsupported (a dtype that DType lacks, or more
  /// than Dims::max_rank axes).
  Tensor tensor(std::string_view name) const;

  /// The bytes that hold a tensor as they lie in the file, for those of dtypes that DType lacks.
  /// Throws Error(not_found) as tensor() does.
  std::span<const std::byte> bytes(std::string_view name) const;

  /// Throws Error(not_found) as tensor() does.
  TensorInfo info(std::string_view name) const;

  /// How the files are written.
  CheckpointFormat format() const noexcept;

  /// safetensors' __metadata__, GGUF's metadata but for arrays; of shards all together, where the first one
  /// that has a key decides.
  const std::map<std::string, std::string>& metadata() const noexcept;

  /// The files that hold the tensors.
  const std::vector<std::filesystem::path>& files() const noexcept;

  /// The bytes of all tensors. Tensors that share memory in the file count each.
  std::uint64_t total_bytes() const noexcept;

  /// Reads all files into the page cache, so that later accesses do not wait for the disk. `progress` counts
  /// the bytes of the files. With `keep` their pages also stay in this process's memory.
  void prefetch(const ProgressFn& progress = {}, bool keep = true) const;

  /// Gives a tensor's pages back to the system, which may keep them cached, and those around them. They come
  /// back when they are touched: no data change. Throws Error(not_found) as tensor() does.
  void release(std::string_view name) const { release(bytes(name)); }
  /// The same of a part of a file. Nothing is done about bytes elsewhere.
  void release(std::span<const std::byte> bytes) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
