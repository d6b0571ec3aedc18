// What loading takes of memory, as the system says.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "models/src/checkpoint_parameters.hpp"
#include "ophis/core/exec_context.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "tests/support/temporary_folder.hpp"

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

/// A line of /proc/self/status, in bytes.
std::uint64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == field && status >> kilobytes) return kilobytes * 1024;
  }
  FAIL("no ", field);
  return 0;
}

/// The most memory that the process has had since now, beyond what it has now (proc(5), clear_refs).
class PeakMemory {
 public:
  PeakMemory() : m_before(status_bytes("VmRSS:")) {
    std::ofstream clear("/proc/self/clear_refs");
    clear << "5" << std::flush;
    REQUIRE(clear.good());
  }
  std::uint64_t bytes() const { return status_bytes("VmHWM:") - m_before; }

 private:
  std::uint64_t m_before;
};

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

TEST_CASE("parameters of any size share huge pages, from an empty one on") {
  Placement placement;
  placement.use_huge_pages();
  for (const std::int64_t count : {0, 1, 1000, 500000, 400000}) {
    OwnedTensor given(DType::float32, {count});
    for (std::int64_t i = 0; i < count; ++i) given->data<float>()[i] = static_cast<float>(i % 97);
    const Tensor placed = placement.put({given, nullptr}).tensor;
    REQUIRE(placed.shape() == Dims{count});
    CHECK(std::equal(placed.data<float>(), placed.data<float>() + count, given->data<float>()));
  }
}

TEST_CASE("the source of a large weight does not lie in memory beside what is made of it") {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "model.safetensors";
  const Dims shape{32768, 512};
  {
    OwnedTensor table(DType::float32, shape);
    for (std::int64_t i = 0; i < table->count(); ++i) table->data<float>()[i] = static_cast<float>(i % 99);
    save_safetensors(file, std::vector<NamedTensor>{{"table.weight", table}});
  }
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(file));
  Placement placement;
  placement.use_huge_pages();
  ParameterSource source(parameters_of(checkpoint).find, placement);
  const auto load = [&](DType dtype, const std::optional<WeightFormat>& format) {
    source.set_quantization({{}, format});
    return require_table(source, "table", shape, dtype);
  };
  load(DType::float32, WeightFormat{});  // what the library takes once
  const auto check = [&](DType dtype, const std::optional<WeightFormat>& format) {
    CAPTURE(dtype);
    CAPTURE(format.has_value());
    const PeakMemory peak;
    const Weight weight = load(dtype, format);
    CHECK(peak.bytes() >= weight.bytes());
    // Of the source a thread has a piece, with the huge pages that it lies in.
    CHECK(peak.bytes() <
          weight.bytes() + static_cast<std::uint64_t>(num_threads() + 1) * 2 * huge_page_bytes);
  };
  check(DType::float32, {});
  check(DType::bfloat16, {});
  check(DType::float32, WeightFormat{8});
  check(DType::bfloat16, WeightFormat{4});
}
