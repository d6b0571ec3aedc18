#include <doctest/doctest.h>
#include <sys/resource.h>

#include <array>
#include <csignal>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "models/src/json.hpp"
#include "ophis/core/buffer.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "tests/support/checkpoint_files.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace ophis;
using namespace ophis::test;

namespace {

constexpr std::array all_dtypes{DType::float32, DType::bfloat16, DType::float16, DType::float64,
                                DType::int64,   DType::int32,    DType::int16,   DType::int8,
                                DType::uint8,   DType::boolean};

/// A tensor of any dtype whose bytes count upwards.
OwnedTensor counting_tensor(DType dtype, const Dims& shape) {
  OwnedTensor tensor(dtype, shape);
  auto* const bytes = static_cast<std::uint8_t*>(tensor->raw());
  for (std::size_t i = 0; i < tensor->bytes(); ++i)
    bytes[i] = static_cast<std::uint8_t>(dtype == DType::boolean ? i % 2 : i);
  return tensor;
}

std::string raw_bytes(const Tensor& tensor) {
  std::string bytes;
  for_each_element(tensor, [&](const std::byte* element) {
    bytes.append(reinterpret_cast<const char*>(element), size_of(tensor.dtype()));
  });
  return bytes;
}

std::string read_all(const fs::path& path) { return read_text_file(path); }

std::size_t count_files(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// Opens a file with this header and expects it to be refused, with the file's name and `part` in the
/// message.
void expect_corrupt(std::string_view header, std::string_view data, std::string_view part) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("model.safetensors", safetensors_file(header, data));
  INFO("header: ", std::string(header));
  expect_error(ErrorCode::corrupt_data, {"model.safetensors", part}, [&] { Checkpoint::open(path); });
}

/// Writes a one-tensor safetensors file into the folder.
void write_shard(const TemporaryFolder& folder, const std::string& file, const std::string& name,
                 float value) {
  const std::vector<float> values{value, value + 1};
  const std::string header = detail::concat(R"({"__metadata__":{"format":"pt"},")", name,
                                            R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})");
  folder.write(file, safetensors_file(header, bytes_of(values)));
}

}  // namespace

TEST_CASE("safetensors: every dtype comes back as it was written") {
  const TemporaryFolder folder;
  std::vector<OwnedTensor> owners;
  std::vector<NamedTensor> tensors;
  for (const DType dtype : all_dtypes) {
    owners.push_back(counting_tensor(dtype, {3, 5}));
    tensors.push_back({to_string(dtype), owners.back()});
  }
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"quote", "\"\\\n"}};
  save_safetensors(folder.path() / "model.safetensors", tensors, metadata);
  CHECK(count_files(folder.path()) == 1);

  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.names().size() == all_dtypes.size());
  CHECK(checkpoint.metadata() == metadata);
  std::uint64_t total = 0;
  for (const NamedTensor& written : tensors) {
    CAPTURE(written.name);
    REQUIRE(checkpoint.contains(written.name));
    const Tensor read = checkpoint.tensor(written.name);
    CHECK(read.dtype() == written.tensor.dtype());
    CHECK(read.shape() == written.tensor.shape());
    CHECK(raw_bytes(read) == raw_bytes(written.tensor));
    CHECK(reinterpret_cast<std::uintptr_t>(read.raw()) % size_of(read.dtype()) == 0);
    CHECK(checkpoint.info(written.name).bytes == written.tensor.bytes());
    total += written.tensor.bytes();
  }
  CHECK(checkpoint.total_bytes() == total);
}

TEST_CASE("safetensors: scalars, empty tensors, an empty file and strided tensors") {
  const TemporaryFolder folder;
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor all(values.data(), DType::float32, {2, 3, 4});
  const std::vector<NamedTensor> tensors{{"scalar", Tensor(values.data(), DType::float32, {})},
                                         {"none", Tensor(nullptr, DType::float32, {0, 7})},
                                         {"transposed", all.transpose(0, 2)},
                                         {"slice", all.slice(1, 1, 3)}};
  const fs::path path = folder.path() / "strided.safetensors";
  save_safetensors(path, tensors);
  const Checkpoint checkpoint = Checkpoint::open(path);
  for (const NamedTensor& written : tensors) {
    CAPTURE(written.name);
    const Tensor read = checkpoint.tensor(written.name);
    CHECK(read.shape() == written.tensor.shape());
    CHECK(read.is_contiguous());
    CHECK(values_of<float>(read) == values_of<float>(written.tensor));
  }

  save_safetensors(folder.path() / "empty.safetensors", {});
  CHECK(Checkpoint::open(folder.path() / "empty.safetensors").names().empty());
}

TEST_CASE("safetensors: the written bytes are aligned and the same each time") {
  const TemporaryFolder folder;
  const OwnedTensor small = counting_tensor(DType::int8, {3});
  const OwnedTensor large = counting_tensor(DType::float64, {2});
  const std::vector<NamedTensor> tensors{{"small", small}, {"large", large}};
  save_safetensors(folder.path() / "a", tensors, {{"k", "v"}});
  save_safetensors(folder.path() / "b", tensors, {{"k", "v"}});
  const std::string bytes = read_all(folder.path() / "a");
  CHECK(bytes == read_all(folder.path() / "b"));
  CHECK(static_cast<unsigned char>(bytes[0]) % 8 == 0);
  const std::string_view header =
      R"({"__metadata__":{"k":"v"},"large":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
      R"("small":{"dtype":"I8","shape":[3],"data_offsets":[16,19]}})";
  CHECK(bytes.substr(8, header.size()) == header);
}

TEST_CASE("safetensors: a failed write leaves nothing behind and keeps the older file") {
  const TemporaryFolder folder;
  const OwnedTensor tensor = counting_tensor(DType::float32, {1024});
  const std::vector<NamedTensor> tensors{{"x", tensor}};
  expect_error(ErrorCode::not_found, {"missing"},
               [&] { save_safetensors(folder.path() / "missing" / "x.safetensors", tensors); });
  CHECK(count_files(folder.path()) == 0);

  const fs::path path = folder.write("x.safetensors", "older");
  rlimit previous{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &previous) == 0);
  auto* const previous_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, previous.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);  // a write beyond 1000 bytes fails, as on a full disk
  expect_error(ErrorCode::io, {"x.safetensors"}, [&] { save_safetensors(path, tensors); });
  ::setrlimit(RLIMIT_FSIZE, &previous);
  std::signal(SIGXFSZ, previous_handler);
  CHECK(count_files(folder.path()) == 1);
  CHECK(read_all(path) == "older");

  fs::create_directory(folder.path() / "taken");
  expect_error(ErrorCode::io, {"taken"}, [&] { save_safetensors(folder.path() / "taken", tensors); });
  CHECK(count_files(folder.path()) == 2);
}

TEST_CASE("safetensors: what cannot be written is named") {
  const TemporaryFolder folder;
  const OwnedTensor x = counting_tensor(DType::float32, {2});
  const auto save = [&](std::vector<NamedTensor> tensors) {
    return [&folder, tensors] { save_safetensors(folder.path() / "x", tensors); };
  };
  expect_error(ErrorCode::invalid_argument, {"twin", "twice"}, save({{"twin", x}, {"twin", x}}));
  expect_error(ErrorCode::invalid_argument, {"__metadata__"}, save({{"__metadata__", x}}));
  expect_error(ErrorCode::invalid_argument, {"UTF-8"}, save({{"\xff", x}}));
  expect_error(ErrorCode::invalid_argument, {"ghost"}, save({{"ghost", Tensor()}}));
  CHECK(count_files(folder.path()) == 0);
}

TEST_CASE("safetensors: data that are not aligned in the file are copied") {
  const TemporaryFolder folder;
  const std::vector<double> values{1.5, -2.5};
  const fs::path path = folder.write(
      "odd.safetensors", safetensors_file(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                          R"("d":{"dtype":"F64","shape":[2],"data_offsets":[1,17]}})",
                                          std::string(1, '\7') + bytes_of(values)));
  Checkpoint checkpoint = Checkpoint::open(path);
  const Tensor tensor = checkpoint.tensor("d");
  CHECK(reinterpret_cast<std::uintptr_t>(tensor.raw()) % sizeof(double) == 0);
  CHECK(values_of<double>(tensor) == values);
  CHECK(checkpoint.tensor("d").raw() == tensor.raw());
  const Checkpoint moved = std::move(checkpoint);
  CHECK(values_of<double>(tensor) == values);
  CHECK(values_of<std::uint8_t>(moved.tensor("b")) == std::vector<std::uint8_t>{7});
}

TEST_CASE("safetensors: tensors that Ophis cannot read do not keep the others from being read") {
  const TemporaryFolder folder;
  const fs::path path =
      folder.write("new.safetensors",
                   safetensors_file(R"({"f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},)"
                                    R"("deep":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[2,3]},)"
                                    R"("f4":{"dtype":"F4","shape":[2],"data_offsets":[3,4]},)"
                                    R"("later":{"dtype":"X9","shape":[5],"data_offsets":[4,5]},)"
                                    R"("fine":{"dtype":"BOOL","shape":[1],"data_offsets":[5,6]}})",
                                    std::string("\1\2\3\4\5\1", 6)));
  const Checkpoint checkpoint = Checkpoint::open(path);
  CHECK(values_of<bool>(checkpoint.tensor("fine")) == std::vector<bool>{true});
  expect_error(ErrorCode::unsupported, {"f8", "F8_E4M3", "new.safetensors"},
               [&] { checkpoint.tensor("f8"); });
  expect_error(ErrorCode::unsupported, {"f4", "F4"}, [&] { checkpoint.tensor("f4"); });
  expect_error(ErrorCode::unsupported, {"later", "X9"}, [&] { checkpoint.tensor("later"); });
  expect_error(ErrorCode::unsupported, {"deep", "7 axes"}, [&] { checkpoint.tensor("deep"); });
  CHECK(checkpoint.info("f8").dtype == "F8_E4M3");
  CHECK(checkpoint.info("deep").shape.size() == 7);
}

TEST_CASE("safetensors: a broken header is refused with the reason") {
  const std::string four(4, '\0');
  expect_corrupt("", "", "not a JSON object");
  expect_corrupt("[]", "", "not a JSON object");
  expect_corrupt("{", "", "JSON");
  expect_corrupt("{} x", "", "JSON");
  expect_corrupt("{\"\xff\":{}}", "", "JSON");
  expect_corrupt("{}", "1", "belong to no tensor");
  expect_corrupt(R"({"t":1})", "", "object");
  expect_corrupt(R"({"t":{}})", "", "no dtype");
  expect_corrupt(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", four, "no shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[1]}})", four, "no data_offsets");
  expect_corrupt(R"({"t":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", four, "dtype");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four, "shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", four, "shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", four, "shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,4]}})", four,
                 "shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", four,
                 "extent");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}})", four,
                 "too many");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})", "",
                 "too many");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four, "4 bytes");
  expect_corrupt(R"({"t":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", "1", "F4");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", four, "data_offsets");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four, "outside");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", four, "outside");
  expect_corrupt(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", four, "hole");
  expect_corrupt(R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                 R"("u":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                 four, "overlaps");
  expect_corrupt(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", four, "belong to no tensor");
  expect_corrupt(R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                 R"("t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                 four, "twice");
  expect_corrupt(R"({"t":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", four, "twice");
  expect_corrupt(R"({"__metadata__":{"a":1}})", "", "not a string");
  expect_corrupt(R"({"__metadata__":"a"})", "", "not an object");
}

TEST_CASE("safetensors: truncated files, Git LFS pointers and absurd lengths are refused") {
  const TemporaryFolder folder;
  const auto refused = [&](std::string_view content, std::string_view part) {
    const fs::path path = folder.write("model.safetensors", content);
    expect_error(ErrorCode::corrupt_data, {"model.safetensors", part}, [&] { Checkpoint::open(path); });
  };
  refused("", "truncated");
  refused("1234567", "truncated");
  refused(little_endian(std::uint64_t{3}) + "{}", "truncated");
  refused(little_endian(~std::uint64_t{0}) + "{}", "truncated");
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS");
  // A header longer than the format allows; the file is sparse.
  const fs::path path = folder.write("model.safetensors", little_endian(std::uint64_t{100'000'001}) + "{}");
  fs::resize_file(path, 200'000'000);
  expect_error(ErrorCode::corrupt_data, {"100000001"}, [&] { Checkpoint::open(path); });
}

TEST_CASE("checkpoint: a folder is searched in a fixed order") {
  const TemporaryFolder folder;
  expect_error(ErrorCode::not_found,
               {folder.path().string(),
                "model.safetensors, model.safetensors.index.json, consolidated.safetensors, "
                "pytorch_model.bin, pytorch_model.bin.index.json"},
               [&] { Checkpoint::open(folder.path()); });
  expect_error(ErrorCode::not_found, {"nowhere"}, [&] { Checkpoint::open(folder.path() / "nowhere"); });
  write_shard(folder, "consolidated.safetensors", "c", 0);
  CHECK(Checkpoint::open(folder.path()).names() == std::vector<std::string>{"c"});
  write_shard(folder, "model.safetensors", "m", 0);
  CHECK(Checkpoint::open(folder.path()).names() == std::vector<std::string>{"m"});
}

TEST_CASE("checkpoint: a missing tensor is named together with similar ones") {
  const TemporaryFolder folder;
  write_shard(folder, "model.safetensors", "backbone.embeddings.weight", 0);
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  expect_error(ErrorCode::not_found,
               {"backbone.embedding.weight", "model.safetensors", "backbone.embeddings.weight"},
               [&] { checkpoint.tensor("backbone.embedding.weight"); });
  CHECK_FALSE(checkpoint.contains("backbone.embedding.weight"));
}

TEST_CASE("checkpoint: shards are found through the index") {
  const TemporaryFolder folder;
  write_shard(folder, "model-1.safetensors", "a", 1);
  write_shard(folder, "model-2.safetensors", "b", 2);
  folder.write("model.safetensors.index.json",
               R"({"metadata":{"total_size":16,"deep":[[{"x":[]}]]},)"
               R"("weight_map":{"b":"model-2.safetensors","a":"model-1.safetensors"}})");
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.names() == std::vector<std::string>{"a", "b"});
  CHECK(values_of<float>(checkpoint.tensor("a")) == std::vector<float>{1, 2});
  CHECK(values_of<float>(checkpoint.tensor("b")) == std::vector<float>{2, 3});
  CHECK(checkpoint.info("b").file == folder.path() / "model-2.safetensors");
  CHECK(checkpoint.files().size() == 2);
  CHECK(checkpoint.metadata().at("format") == "pt");
}

TEST_CASE("checkpoint: a broken index is refused") {
  const TemporaryFolder folder;
  write_shard(folder, "model-1.safetensors", "a", 1);
  const auto refused = [&](ErrorCode code, std::string_view index, std::string_view part) {
    folder.write("model.safetensors.index.json", index);
    CAPTURE(std::string(index));
    expect_error(code, {part}, [&] { Checkpoint::open(folder.path()); });
  };
  refused(ErrorCode::not_found, R"({"weight_map":{"a":"model-9.safetensors"}})", "model-9.safetensors");
  refused(ErrorCode::not_found, R"({"weight_map":{"b":"model-1.safetensors"}})", "\"b\"");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":"../model-1.safetensors"}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":"/etc/passwd"}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":".."}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":""}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":"x\u0000y"}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":1}})", "same folder");
  refused(ErrorCode::corrupt_data, R"({"weight_map":[]})", "weight_map");
  refused(ErrorCode::corrupt_data, R"({"weight_map":{"a":"x","a":"y"}})", "twice");
  refused(ErrorCode::corrupt_data, R"({})", "weight_map");
  refused(ErrorCode::corrupt_data, R"([])", "not a JSON object");
  refused(ErrorCode::corrupt_data, "", "JSON");
}

TEST_CASE("checkpoint: reading ahead shows progress, which may stop it") {
  const TemporaryFolder folder;
  write_shard(folder, "model.safetensors", "a", 1);
  const std::uint64_t size = fs::file_size(folder.path() / "model.safetensors");
  std::vector<std::uint64_t> seen;
  Checkpoint::open(folder.path(), [&](std::uint64_t done, std::uint64_t total) {
    seen.push_back(done);
    CHECK(total == size);
  });
  CHECK(seen == std::vector<std::uint64_t>{0, size});
  struct Stop {};
  CHECK_THROWS_AS(Checkpoint::open(folder.path(), [](std::uint64_t, std::uint64_t) { throw Stop(); }), Stop);
}

TEST_CASE("checkpoint: the bundled models open") {
  for (const char* name : {"mamba-tiny", "mamba2-tiny"}) {
    const Checkpoint checkpoint = Checkpoint::open(fs::path(OPHIS_SOURCE_DIR) / "examples/models" / name);
    CHECK(checkpoint.names().size() > 10);
    for (const std::string& tensor : checkpoint.names()) CHECK(checkpoint.tensor(tensor).count() > 0);
  }
}
