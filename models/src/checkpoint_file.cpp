#include "models/src/checkpoint_file.hpp"

#include <array>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "models/src/gguf/gguf_format.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 5> default_names{"model.safetensors", "model.safetensors.index.json",
                                                   "consolidated.safetensors", "pytorch_model.bin",
                                                   "pytorch_model.bin.index.json"};

bool starts_with(std::span<const std::byte> content, std::string_view start) {
  return std::string_view(reinterpret_cast<const char*>(content.data()), content.size()).starts_with(start);
}

std::optional<fs::path> find_gguf_in_folder(const fs::path& folder) {
  std::optional<fs::path> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != gguf::extension) continue;
    OPHIS_REQUIRE(!found, folder.string(), " holds several models, ", found->filename().string(), " and ",
                  entry.path().filename().string(), " among them: name one of the files");
    found = entry.path();
  }
  return found;
}

}  // namespace

std::optional<fs::path> find_checkpoint_file(const fs::path& folder) {
  for (const char* name : default_names) {
    std::error_code error;
    if (fs::exists(folder / name, error)) return folder / name;
  }
  return find_gguf_in_folder(folder);
}

fs::path require_checkpoint_file(const fs::path& folder) {
  if (const auto found = find_checkpoint_file(folder)) return *found;
  std::string wanted;
  for (const char* name : default_names) wanted.append(name).append(", ");
  fail(ErrorCode::not_found, "no checkpoint in ", folder.string(), ": looked for ", wanted, "*",
       gguf::extension);
}

CheckpointFormat format_of(const fs::path& file, std::span<const std::byte> content) {
  const std::string extension = file.extension().string();
  if (extension == ".safetensors") return CheckpointFormat::safetensors;
  if (extension == ".bin" || extension == ".pt" || extension == ".pth") return CheckpointFormat::pytorch_bin;
  if (extension == gguf::extension || starts_with(content, gguf::magic)) return CheckpointFormat::gguf;
  return starts_with(content, "PK\3\4") ? CheckpointFormat::pytorch_bin : CheckpointFormat::safetensors;
}

std::optional<fs::path> find_gguf(const fs::path& model) {
  std::error_code error;
  std::optional<fs::path> file = model;
  if (fs::is_directory(model, error)) file = find_checkpoint_file(model);
  if (!file || !fs::is_regular_file(*file, error)) return std::nullopt;
  std::array<char, gguf::magic.size()> start{};
  std::ifstream(*file, std::ios::binary).read(start.data(), start.size());
  const bool is_gguf = format_of(*file, std::as_bytes(std::span(start))) == CheckpointFormat::gguf;
  return is_gguf ? file : std::nullopt;
}

}  // namespace ophis
