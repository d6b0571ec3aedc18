#include <doctest/doctest.h>

#include <map>
#include <mutex>

#include "models/src/gguf/block_formats.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/parameters.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/gguf_builder.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace ophis;
using namespace ophis::test;

namespace {

const fs::path types_file = fs::path(OPHIS_SOURCE_DIR) / "tests" / "data" / "ggml_types.gguf";

/// Opens a file of this content and expects it to be refused, with the file's name and `part` in the message.
void expect_refused(ErrorCode code, const std::string& content, std::string_view part) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("hostile.gguf", content);
  INFO("wanted: ", std::string(part));
  expect_error(code, {"hostile.gguf", part}, [&] { Checkpoint::open(path); });
}

const std::string six_floats = bytes_of(std::vector<float>{1, 2, 3, 4, 5, 6});

GgufBuilder one_tensor() { return GgufBuilder().tensor("x", {2, 3}, gguf_type::F32, six_floats); }

constexpr std::uint64_t huge = std::uint64_t{1} << 62;

}  // namespace

TEST_CASE("gguf: every type stands for what llama.cpp's own package says") {
  const Checkpoint checkpoint = Checkpoint::open(types_file);
  int unpacked = 0, dense = 0;
  for (const std::string& name : checkpoint.names()) {
    if (name.ends_with(".reference")) continue;
    INFO(name);
    const TensorInfo info = checkpoint.info(name);
    const std::vector<float> want = values_of<float>(checkpoint.tensor(name + ".reference"));
    if (gguf::can_unpack(info.dtype)) {
      const auto matrix = gguf::unpack(info.dtype, checkpoint.bytes(name), info.shape[0], info.shape[1]);
      CHECK(values_of<float>(gguf::dequantize(matrix)) == want);
      CHECK(matrix.codes->shape() == Dims{2, 32 * matrix.bits});
      CHECK_THROWS_AS(checkpoint.tensor(name), Error);
      ++unpacked;
    } else {
      CHECK(values_of<float>(convert(checkpoint.tensor(name), DType::float32)) == want);
      ++dense;
    }
  }
  CHECK(unpacked == 10);
  CHECK(dense == 3);
}

TEST_CASE("gguf: blocks are released as they are unpacked") {
  constexpr std::int64_t rows = 5000, columns = 1024, row_bytes = columns / 32 * 34;
  const std::vector<std::byte> blocks(static_cast<std::size_t>(rows * row_bytes));
  std::map<std::ptrdiff_t, std::size_t> released;  // sizes by offsets
  std::mutex mutex;
  gguf::unpack("Q8_0", blocks, rows, columns, [&](std::span<const std::byte> piece) {
    const std::lock_guard lock(mutex);
    released.emplace(piece.data() - blocks.data(), piece.size());
  });
  CHECK(released.size() > 2);
  std::size_t end = 0;
  for (const auto& [offset, size] : released) {
    CHECK(offset == static_cast<std::ptrdiff_t>(end));
    end += size;
  }
  CHECK(end == blocks.size());
}

TEST_CASE("gguf: metadata, shapes and types") {
  const Checkpoint checkpoint = Checkpoint::open(types_file);
  CHECK(checkpoint.format() == CheckpointFormat::gguf);
  const auto& metadata = checkpoint.metadata();
  CHECK(metadata.at("general.architecture") == "mamba");
  CHECK(metadata.at("test.text") == "\u03a9phis");
  CHECK(metadata.at("test.float32") == "1e-05");
  CHECK(metadata.at("test.bool") == "true");
  CHECK(metadata.at("test.int8") == "-7");
  CHECK(metadata.at("test.uint64") == "9223372036854775809");
  CHECK_FALSE(metadata.contains("test.texts"));
  const TensorInfo info = checkpoint.info("Q4_K");
  CHECK(info.dtype == "Q4_K");
  CHECK(info.shape == std::vector<std::int64_t>{2, 256});
  CHECK(info.bytes == 2 * 144);
  CHECK(checkpoint.bytes("Q4_K").size() == info.bytes);
  CHECK(checkpoint.info("BF16").dtype == "bfloat16");
  CHECK(checkpoint.tensor("F16").shape() == Dims{3, 5});
}

TEST_CASE("gguf: both versions, any alignment, data that are not aligned, a name without extension") {
  const TemporaryFolder folder;
  const std::vector<float> want{1, 2, 3, 4, 5, 6};
  for (const std::uint32_t version : {2u, 3u}) {
    for (const std::uint32_t alignment : {1u, 2u, 64u, 4096u}) {
      const std::string content = GgufBuilder()
                                      .alignment(alignment)
                                      .version(version)
                                      .tensor("odd", {3}, 24, "abc")
                                      .tensor("x", {2, 3}, gguf_type::F32, six_floats)
                                      .build();
      const Checkpoint checkpoint = Checkpoint::open(folder.write("blob", content));
      CHECK(checkpoint.names() == std::vector<std::string>{"odd", "x"});
      CHECK(values_of<float>(checkpoint.tensor("x")) == want);
      CHECK(values_of<std::int8_t>(checkpoint.tensor("odd")) == std::vector<std::int8_t>{'a', 'b', 'c'});
    }
  }
  const std::string empty = GgufBuilder().build();
  CHECK(Checkpoint::open(folder.write("empty.gguf", empty)).names().empty());
}

TEST_CASE("gguf: every place at which a file can end is refused") {
  const TemporaryFolder folder;
  const std::string good = one_tensor().texts("list", {"a", "bc"}).number("x.y", 1.5f).build();
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    const fs::path path = folder.write("short.gguf", good.substr(0, size));
    expect_error(ErrorCode::corrupt_data, {"short.gguf"}, [&] { Checkpoint::open(path); });
  }
  CHECK(Checkpoint::open(folder.write("whole.gguf", good)).names().size() == 1);
}

TEST_CASE("gguf: hostile headers") {
  const ErrorCode corrupt = ErrorCode::corrupt_data, unsupported = ErrorCode::unsupported;
  expect_refused(corrupt, "GGML" + one_tensor().build().substr(4), "does not begin with GGUF");
  expect_refused(corrupt, "version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull");
  expect_refused(corrupt, one_tensor().version(0).build(), "version 0");
  expect_refused(unsupported, one_tensor().version(1).build(), "version 1; versions 2 and 3 are read");
  expect_refused(unsupported, one_tensor().version(4).build(), "version 4");
  expect_refused(unsupported, one_tensor().version(0x03000000).build(), "big-endian");
  expect_refused(corrupt, one_tensor().build(huge, 1), "it promises 4611686018427387904 tensors");
  expect_refused(corrupt, one_tensor().build(1, ~std::uint64_t{0}), "18446744073709551615 metadata values");
  expect_refused(corrupt, one_tensor().build(1, 3), "");
  expect_refused(corrupt, one_tensor().build(4, 1), "");
  expect_refused(unsupported, one_tensor().integer("split.count", 3).build(), "one of 3 parts");
}

TEST_CASE("gguf: hostile metadata") {
  const ErrorCode corrupt = ErrorCode::corrupt_data;
  const auto with_value = [](std::uint32_t type, const std::string& bytes) {
    return GgufBuilder().value("key", type, bytes).build();
  };
  expect_refused(corrupt, with_value(13, "12345678"), "\"key\" has a value of the unknown type 13");
  expect_refused(corrupt, with_value(gguf_type::string, little_endian(huge) + "abc"), "truncated or corrupt");
  expect_refused(corrupt, with_value(gguf_type::string, little_endian(~std::uint64_t{0}) + "abc"),
                 "truncated");
  const auto array = [&](std::uint32_t type, std::uint64_t count, const std::string& bytes) {
    return with_value(gguf_type::array, little_endian(type) + little_endian(count) + bytes);
  };
  expect_refused(corrupt, array(gguf_type::u32, huge, "1234"),
                 "has 4611686018427387904 elements of type uint32");
  expect_refused(corrupt, array(gguf_type::u64, huge / 4 + 1, "1234"), "elements of type uint64");
  expect_refused(corrupt, array(gguf_type::string, huge, gguf_string("a")), "elements of type string");
  expect_refused(corrupt, array(99, 1, "1234"), "unknown type 99");
  expect_refused(ErrorCode::unsupported, array(gguf_type::array, 1, "12345678"), "array of arrays");
  expect_refused(corrupt, GgufBuilder().integer("", 1).build(), "metadata key 1 is \"\"");
  expect_refused(corrupt, GgufBuilder().integer("\xff", 1).build(), "metadata key 1 is");
  expect_refused(corrupt, GgufBuilder().text("key", "\xff").build(), "key is not valid UTF-8");
  expect_refused(corrupt, GgufBuilder().integer("twin", 1).integer("twin", 2).build(),
                 "\"twin\" is there twice");
  const std::string alignment = "general.alignment";
  expect_refused(corrupt, one_tensor().integer(alignment, 0).build(), "should be in 1..");
  expect_refused(corrupt, one_tensor().integer(alignment, 48).build(), "should be a power of two, got 48");
  expect_refused(corrupt, one_tensor().integer(alignment, 1u << 31).build(), "should be in 1..");
  expect_refused(corrupt, one_tensor().text(alignment, "32").build(),
                 "should be an integer, got a value of type string");
}

TEST_CASE("gguf: hostile tensors") {
  const ErrorCode corrupt = ErrorCode::corrupt_data;
  const std::uint32_t F32 = gguf_type::F32;
  const auto with = [&](const std::vector<std::uint64_t>& extents, std::uint32_t type, std::uint64_t offset) {
    return one_tensor().described("y", extents, type, offset, "").build();
  };
  expect_refused(corrupt, with({2}, F32, 4096),
                 "\"y\" has 8 bytes at offset 4096 outside the 24 bytes of data");
  expect_refused(corrupt, with({2}, F32, ~std::uint64_t{0} - 31), "outside the 24 bytes");
  expect_refused(corrupt, with({2}, F32, 4), "not at a multiple of the alignment 32");
  expect_refused(corrupt, with({2}, F32, 0), "overlaps");
  expect_refused(corrupt, with({7}, F32, 0), "has 28 bytes at offset 0 outside");
  expect_refused(corrupt, with({huge, huge}, F32, 0), "too many elements");
  expect_refused(corrupt, with({huge}, F32, 0), "too many elements");
  expect_refused(corrupt, with({~std::uint64_t{0}}, F32, 0), "negative extent or too many elements");
  expect_refused(corrupt, with({0, huge, huge}, F32, 0), "too many elements");
  expect_refused(corrupt, with({1, 1, 1, 1, 1}, F32, 0), "has 5 axes; at most 4 can be");
  expect_refused(corrupt, with({48}, gguf_type::Q8_0, 0),
                 "rows of 48 elements, which are not whole blocks of Q8_0 (32)");
  expect_refused(corrupt, with({48, 64}, gguf_type::Q4_0, 0), "rows of 48 elements");
  expect_refused(corrupt, with({}, gguf_type::Q4_0, 0), "rows of 1 elements");
  expect_refused(ErrorCode::unsupported, with({32}, 4, 0), "\"y\" has the unknown type 4");
  expect_refused(ErrorCode::unsupported, with({32}, 0xffffffff, 0), "unknown type 4294967295");
  expect_refused(corrupt, one_tensor().described("x", {1}, F32, 32, six_floats).build(),
                 "\"x\" is there twice");
  expect_refused(corrupt, GgufBuilder().tensor("", {2, 3}, F32, six_floats).build(), "has no proper name");
  expect_refused(corrupt, GgufBuilder().tensor("\xff", {2, 3}, F32, six_floats).build(),
                 "has no proper name");
}

TEST_CASE("gguf: types that are not read are listed, and told when they are asked for") {
  const TemporaryFolder folder;
  const std::string content = one_tensor().tensor("iq", {256}, 23, std::string(136, 'x')).build();
  const Checkpoint checkpoint = Checkpoint::open(folder.write("model.gguf", content));
  CHECK(checkpoint.info("iq").dtype == "IQ4_XS");
  expect_error(ErrorCode::unsupported, {"model.gguf", "\"iq\"", "IQ4_XS"}, [&] { checkpoint.tensor("iq"); });
  expect_error(ErrorCode::not_found, {"\"z\"", "model.gguf"}, [&] { checkpoint.bytes("z"); });
}

TEST_CASE("gguf: a folder is read by its only file, if it has nothing else") {
  const TemporaryFolder folder;
  folder.write("any-name.gguf", one_tensor().build());
  folder.write("notes.txt", "");
  CHECK(Checkpoint::open(folder.path()).contains("x"));
  folder.write("other.gguf", one_tensor().build());
  expect_error(ErrorCode::invalid_argument, {"several models", "any-name.gguf", "other.gguf", "name one"},
               [&] { Checkpoint::open(folder.path()); });
  folder.write("model.safetensors", safetensors_file("{}", ""));
  CHECK(Checkpoint::open(folder.path()).format() == CheckpointFormat::safetensors);
  const TemporaryFolder empty;
  expect_error(ErrorCode::not_found, {"no checkpoint", "*.gguf"}, [&] { Checkpoint::open(empty.path()); });
}
