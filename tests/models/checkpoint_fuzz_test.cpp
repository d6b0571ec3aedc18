// Mutated checkpoints: each one must open and let every element be read, or throw ophis::Error.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "ophis/models/checkpoint.hpp"
#include "tests/support/checkpoint_files.hpp"
#include "tests/support/gguf_builder.hpp"
#include "tests/support/pytorch_bin_builder.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace ophis;
using namespace ophis::test;

namespace {

/// While it lives, allocations that would make the process grow by more than `bytes` fail.
class MemoryLimit {
 public:
  explicit MemoryLimit(rlim_t bytes) {
    rlim_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    REQUIRE(pages > 0);
    REQUIRE(::getrlimit(RLIMIT_AS, &m_previous) == 0);
    const rlimit limit{pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + bytes, m_previous.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
    REQUIRE(::mmap(nullptr, 2 * bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &m_previous); }

 private:
  rlimit m_previous{};
};

constexpr rlim_t max_growth = rlim_t{64} << 20;  // the files have a few thousand bytes

struct Tally {
  int opened = 0;
  int refused = 0;
};

void check_code(const Error& error) {
  INFO("the error says: ", std::string(error.what()));
  const bool expected = error.code() == ErrorCode::corrupt_data || error.code() == ErrorCode::unsupported ||
                        error.code() == ErrorCode::not_found;
  CHECK(expected);
}

/// Opens a file of this content and reads all of it. Anything but ophis::Error ends the test.
void try_file(const TemporaryFolder& folder, const std::string& name, const std::string& content,
              Tally& tally) {
  const fs::path path = folder.write(name, content);
  try {
    const Checkpoint checkpoint = Checkpoint::open(path);
    std::uint64_t sum = 0;
    for (const std::string& tensor : checkpoint.names()) {
      try {
        sum += byte_sum(checkpoint.tensor(tensor));
      } catch (const Error& error) {
        check_code(error);
      }
    }
    CHECK(sum < ~std::uint64_t{0});
    ++tally.opened;
  } catch (const Error& error) {
    check_code(error);
    ++tally.refused;
  }
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : m_random(seed) {}

  std::size_t below(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(m_random);
  }

  std::string flip_bytes(std::string bytes, std::size_t begin, std::size_t end) {
    for (std::size_t i = below(4) + 1; i > 0; --i)
      bytes[begin + below(end - begin)] = static_cast<char>(below(256));
    return bytes;
  }
  /// Replaces a field by a value that is likely to break arithmetic.
  std::string extreme_field(std::string bytes, std::size_t begin, std::size_t end) {
    constexpr std::uint64_t values[]{
        0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~0ull, 1ull << 40};
    const std::string field =
        little_endian(values[below(std::size(values))]).substr(0, std::size_t{1} << below(4));
    const std::size_t at = begin + below(end - begin);
    return bytes.replace(at, std::min(field.size(), bytes.size() - at), field);
  }
  std::string cut_out(std::string bytes, std::size_t begin, std::size_t end) {
    const std::size_t at = begin + below(end - begin);
    return bytes.erase(at, below(16) + 1);
  }
  std::string repeat(std::string bytes, std::size_t begin, std::size_t end) {
    const std::size_t at = begin + below(end - begin);
    return bytes.insert(at, bytes.substr(at, below(64) + 1));
  }
  std::string swap_bytes(std::string bytes, std::size_t begin, std::size_t end) {
    std::swap(bytes[begin + below(end - begin)], bytes[begin + below(end - begin)]);
    return bytes;
  }
  std::string mutate(const std::string& bytes, std::size_t begin, std::size_t end) {
    switch (below(5)) {
      case 0:
        return flip_bytes(bytes, begin, end);
      case 1:
        return extreme_field(bytes, begin, end);
      case 2:
        return cut_out(bytes, begin, end);
      case 3:
        return repeat(bytes, begin, end);
      default:
        return swap_bytes(bytes, begin, end);
    }
  }

 private:
  std::mt19937 m_random;
};

std::string good_header() {
  return R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
         R"("b":{"dtype":"BF16","shape":[4,1,2],"data_offsets":[24,40]},"c":{"dtype":"I64","shape":[],)"
         R"("data_offsets":[40,48]},"d":{"dtype":"U8","shape":[5],"data_offsets":[48,53]}})";
}

std::string good_safetensors() { return safetensors_file(good_header(), std::string(53, 'x')); }

std::vector<BinTensor> good_tensors() {
  BinTensor plain{
      .name = "a.weight", .storage_count = 6, .shape = {2, 3}, .strides = {3, 1}, .is_parameter = true};
  BinTensor turned{
      .name = "turned", .storage_count = 6, .storage_offset = 1, .shape = {2, 2}, .strides = {1, 3}};
  BinTensor half{.name = "half",
                 .storage_type = "HalfStorage",
                 .storage_key = "1",
                 .storage_count = 4,
                 .shape = {4},
                 .strides = {1}};
  return {plain, turned, half};
}

std::string good_bin(int protocol, ZipOptions options) {
  return pytorch_bin_file(state_dict_pickle(good_tensors(), protocol),
                          {std::string(24, 'x'), std::string(8, 'y')}, options);
}

}  // namespace

TEST_CASE("fuzz: mutated safetensors files") {
  const TemporaryFolder folder;
  const MemoryLimit limit(max_growth);
  Tally tally;
  Mutator mutator(1);
  const std::string good = good_safetensors();
  try_file(folder, "good.safetensors", good, tally);
  REQUIRE(tally.opened == 1);
  for (std::size_t size = 0; size < good.size(); size += 3) {
    try_file(folder, "model.safetensors", good.substr(0, size), tally);
  }
  CHECK(tally.opened == 1);  // no part of a file is a file
  const std::size_t header_end = 8 + good_header().size();
  for (int i = 0; i < 400; ++i) {
    try_file(folder, "model.safetensors", mutator.mutate(good, 0, header_end), tally);
  }
  // Numbers of the header replaced by others: the JSON stays valid, so the checks behind it are reached.
  const std::string digits = "0123456789";
  for (int i = 0; i < 400; ++i) {
    std::string header = good_header();
    const std::size_t at = header.find_first_of(digits, mutator.below(header.size()));
    if (at == std::string::npos) continue;
    const std::string numbers[]{
        "0", "5", "-1", "1e3", "4294967296", "9223372036854775807", "18446744073709551615"};
    header.replace(at, header.find_first_not_of(digits, at) - at, numbers[mutator.below(std::size(numbers))]);
    try_file(folder, "model.safetensors", safetensors_file(header, std::string(53, 'x')), tally);
  }
  const std::string deep(20'000, '[');
  try_file(folder, "model.safetensors", safetensors_file("{\"a\":" + deep, ""), tally);
  try_file(folder, "model.safetensors",
           safetensors_file("{\"a\":" + deep + std::string(20'000, ']') + "}", ""), tally);
  CHECK(tally.opened > 50);
  CHECK(tally.refused > 300);
}

TEST_CASE("fuzz: mutated GGUF files") {
  const TemporaryFolder folder;
  const MemoryLimit limit(max_growth);
  Tally tally;
  Mutator mutator(5);
  GgufBuilder builder;
  builder.integer("mamba.block_count", 2).number("eps", 1e-5f).flag("on", true);
  builder.texts("tokenizer.ggml.tokens", {"a", "b", "ab"}).integers("tokenizer.ggml.token_type", {1, 1, 3});
  builder.tensor("a.weight", {4, 2}, gguf_type::F32, std::string(32, 'x'));
  builder.tensor("b", {32, 3}, gguf_type::Q8_0, std::string(3 * 34, 'y'));
  builder.tensor("c", {3}, gguf_type::BF16, std::string(6, 'z'));
  const std::string good = builder.build();
  try_file(folder, "good.gguf", good, tally);
  REQUIRE(tally.opened == 1);
  for (std::size_t size = 0; size < good.size(); ++size)
    try_file(folder, "model.gguf", good.substr(0, size), tally);
  CHECK(tally.opened == 1);  // no part of a file is a file
  for (int i = 0; i < 1500; ++i)
    try_file(folder, "model.gguf", mutator.mutate(good, 0, builder.data_begin()), tally);
  CHECK(tally.opened > 50);
  CHECK(tally.refused > 500);
}

TEST_CASE("fuzz: mutated indexes of shards") {
  const TemporaryFolder folder;
  const MemoryLimit limit(max_growth);
  Tally tally;
  Mutator mutator(2);
  folder.write("m1.safetensors", good_safetensors());
  const std::string good =
      R"({"metadata":{"total_size":53},"weight_map":{"a.weight":"m1.safetensors","b":"m1.safetensors"}})";
  try_file(folder, "model.safetensors.index.json", good, tally);
  REQUIRE(tally.opened == 1);
  for (int i = 0; i < 200; ++i) {
    try_file(folder, "model.safetensors.index.json", mutator.mutate(good, 0, good.size()), tally);
  }
  CHECK(tally.refused > 50);
}

TEST_CASE("fuzz: mutated pytorch_model.bin files") {
  const TemporaryFolder folder;
  const MemoryLimit limit(max_growth);
  Tally tally;
  Mutator mutator(3);
  std::vector<std::string> bases;
  for (const int protocol : {2, 4}) {
    bases.push_back(good_bin(protocol, {}));
    bases.push_back(good_bin(protocol, {.align = false, .descriptor = false, .zip64 = true}));
  }
  for (const std::string& good : bases) {
    tally = {};
    try_file(folder, "good.bin", good, tally);
    REQUIRE(tally.opened == 1);
    for (std::size_t size = 0; size < good.size(); size += 7) {
      try_file(folder, "pytorch_model.bin", good.substr(0, size), tally);
    }
    CHECK(tally.opened == 1);
    const std::size_t pickle = good.find('\x80');
    const std::size_t pickle_end = good.find("archive/byteorder");
    const std::size_t directory = good.find("PK\1\2");
    for (int i = 0; i < 300; ++i) {
      try_file(folder, "pytorch_model.bin", mutator.mutate(good, pickle, pickle_end), tally);
      try_file(folder, "pytorch_model.bin", mutator.mutate(good, directory, good.size()), tally);
      try_file(folder, "pytorch_model.bin", mutator.mutate(good, 0, good.size()), tally);
    }
    CHECK(tally.opened > 20);
    CHECK(tally.refused > 300);
  }
}

TEST_CASE("fuzz: pickles with swapped opcodes") {
  const TemporaryFolder folder;
  const MemoryLimit limit(max_growth);
  Tally tally;
  Mutator mutator(4);
  const std::string opcodes =
      "(.NRcJKMGXUT]}a)estuqrhjQb\x80\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x93\x94\x95";
  for (int i = 0; i < 600; ++i) {
    std::string pickle = state_dict_pickle(good_tensors());
    for (std::size_t changes = mutator.below(3) + 1; changes > 0; --changes) {
      const char opcode = opcodes[mutator.below(opcodes.size())];
      const std::size_t at = 2 + mutator.below(pickle.size() - 2);
      if (mutator.below(2) == 0) {
        pickle[at] = opcode;
      } else {
        pickle.insert(at, 1, opcode);
      }
    }
    try_file(folder, "pytorch_model.bin",
             pytorch_bin_file(pickle, {std::string(24, 'x'), std::string(8, 'y')}), tally);
  }
  // Opcodes alone, in any order.
  for (int i = 0; i < 600; ++i) {
    std::string pickle("\x80\x02", 2);
    for (std::size_t length = mutator.below(200); length > 0; --length)
      pickle += opcodes[mutator.below(opcodes.size())];
    try_file(folder, "pytorch_model.bin", pytorch_bin_file(pickle + ".", {}), tally);
  }
  CHECK(tally.refused > 600);
}
