// What of a checkpoint's map is in memory, as the system says.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "ophis/models/checkpoint.hpp"
#include "ophis/models/language_model.hpp"

namespace fs = std::filesystem;
using namespace ophis;

namespace {

const fs::path sample = fs::canonical(fs::path(OPHIS_SOURCE_DIR) / "examples" / "models" / "mamba2-tiny");

/// Bytes of a mapped file that are in this process's memory (proc(5), smaps).
std::uint64_t resident_bytes(const fs::path& file) {
  std::ifstream maps("/proc/self/smaps");
  std::uint64_t bytes = 0;
  bool in_file = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    std::uint64_t kilobytes = 0;
    if (!word.ends_with(':')) {
      in_file = line.ends_with(file.string());
    } else if (in_file && word == "Rss:" && words >> kilobytes) {
      bytes += kilobytes * 1024;
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("a checkpoint's pages come when they are touched, and go when they are released") {
  const fs::path file = sample / "model.safetensors";
  const std::uint64_t size = fs::file_size(file);
  const Checkpoint checkpoint = Checkpoint::open(sample);
  CHECK(resident_bytes(file) < size / 4);
  checkpoint.prefetch();
  CHECK(resident_bytes(file) >= size);
  checkpoint.prefetch({}, false);
  CHECK(resident_bytes(file) < size / 4);

  const std::string name = "backbone.embeddings.weight";  // a fifth of the file
  const Tensor tensor = checkpoint.tensor(name);
  const auto sum = [&] {
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < tensor.count(); ++i) sum += tensor.data<bfloat16>()[i].bits;
    return sum;
  };
  const std::uint64_t before = resident_bytes(file), first = sum();
  CHECK(resident_bytes(file) > before + tensor.bytes() / 2);
  checkpoint.release(name);
  CHECK(resident_bytes(file) < before + tensor.bytes() / 2);
  CHECK(sum() == first);
}

TEST_CASE("weights that are converted or quantized when loading do not keep their source in memory") {
  const fs::path file = sample / "model.safetensors";
  const std::uint64_t size = fs::file_size(file);
  const auto resident = [&](const LoadOptions& options) {
    const LanguageModel model = LanguageModel::load(sample, options);
    return resident_bytes(file);
  };
  const ProgressFn progress = [](std::uint64_t, std::uint64_t) {};
  const WeightFormat int4;
  CHECK(resident({DType::float32, {}, progress, {}}) < size / 4);
  CHECK(resident({DType::bfloat16, {}, progress, {int4, int4}}) < size / 4);
  CHECK(resident({DType::bfloat16, {}, progress, {}}) < size);
}
