#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ophis/models/checkpoint.hpp"
#include "tests/support/checkpoint_files.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/pytorch_bin_builder.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace ophis;
using namespace ophis::test;

namespace {

const std::vector<float> six_values{0, 1, 2, 3, 4, 5};

/// A (2, 3) tensor over all of a six-element storage.
BinTensor whole_tensor(const std::string& name) {
  return {.name = name, .storage_count = 6, .shape = {2, 3}, .strides = {3, 1}};
}

/// Writes the file, opens it and calls `look`.
template <class Look>
void open_bin(const std::string& content, Look&& look) {
  const TemporaryFolder folder;
  look(Checkpoint::open(folder.write("pytorch_model.bin", content)));
}

void expect_refused(ErrorCode code, const std::string& content,
                    std::initializer_list<std::string_view> parts) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("pytorch_model.bin", content);
  expect_error(code, parts, [&] { Checkpoint::open(path); });
}

/// Expects a file with this one tensor over six floats to be refused, with the tensor's name in the message.
void expect_tensor_refused(const BinTensor& tensor, std::string_view part) {
  expect_refused(ErrorCode::corrupt_data,
                 pytorch_bin_file(state_dict_pickle({tensor}), {bytes_of(six_values)}),
                 {"pytorch_model.bin", tensor.name, part});
}

/// A pickle of protocol 2 with this body, in a file.
std::string file_of_pickle(std::string_view body) {
  return pytorch_bin_file("\x80\x02" + std::string(body), {bytes_of(six_values)});
}

}  // namespace

TEST_CASE("pytorch_model.bin: the file that Python's pickle and zipfile wrote") {
  const Checkpoint checkpoint =
      Checkpoint::open(fs::path(OPHIS_SOURCE_DIR) / "tests/data/pytorch_model_tiny.bin");
  CHECK(checkpoint.names() == std::vector<std::string>{"backbone.embedding.weight", "backbone.transposed",
                                                       "steps", "half", "scalar"});
  CHECK(checkpoint.tensor("backbone.embedding.weight").shape() == Dims{2, 3});
  CHECK(values_of<float>(checkpoint.tensor("backbone.embedding.weight")) == six_values);
  CHECK(checkpoint.tensor("backbone.transposed").strides() == Dims{1, 3});
  CHECK(values_of<float>(checkpoint.tensor("backbone.transposed")) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(values_of<std::int64_t>(checkpoint.tensor("steps")) ==
        std::vector<std::int64_t>{std::int64_t{1} << 40, -3});
  const std::vector<float16> half = values_of<float16>(checkpoint.tensor("half"));
  CHECK(static_cast<float>(half[0]) == -2.0f);
  CHECK(static_cast<float>(half[1]) == 65504.0f);
  CHECK(checkpoint.tensor("scalar").rank() == 0);
  CHECK(values_of<float>(checkpoint.tensor("scalar")) == std::vector<float>{5});
}

TEST_CASE("pytorch_model.bin: every storage type, protocol and layout of the archive") {
  constexpr std::array<std::pair<const char*, DType>, 10> types{{{"FloatStorage", DType::float32},
                                                                 {"BFloat16Storage", DType::bfloat16},
                                                                 {"HalfStorage", DType::float16},
                                                                 {"DoubleStorage", DType::float64},
                                                                 {"LongStorage", DType::int64},
                                                                 {"IntStorage", DType::int32},
                                                                 {"ShortStorage", DType::int16},
                                                                 {"CharStorage", DType::int8},
                                                                 {"ByteStorage", DType::uint8},
                                                                 {"BoolStorage", DType::boolean}}};
  std::vector<BinTensor> tensors;
  std::vector<std::string> storages;
  for (const auto& [type, dtype] : types) {
    tensors.push_back({.name = type,
                       .storage_type = type,
                       .storage_key = std::to_string(storages.size()),
                       .storage_count = 3,
                       .storage_offset = 1,
                       .shape = {2},
                       .strides = {1},
                       .is_parameter = dtype == DType::float32});
    std::string bytes;
    for (std::size_t i = 0; i < 3 * size_of(dtype); ++i) bytes += static_cast<char>(i % 2);
    storages.push_back(bytes);
  }
  for (const int protocol : {2, 3, 4}) {
    for (const ZipOptions options : {ZipOptions{}, ZipOptions{.align = false, .descriptor = false},
                                     ZipOptions{.align = true, .descriptor = true, .zip64 = true}}) {
      CAPTURE(protocol);
      CAPTURE(options.align);
      CAPTURE(options.zip64);
      open_bin(pytorch_bin_file(state_dict_pickle(tensors, protocol), storages, options),
               [&](const Checkpoint& c) {
                 REQUIRE(c.names().size() == types.size());
                 for (std::size_t i = 0; i < types.size(); ++i) {
                   const Tensor tensor = c.tensor(types[i].first);
                   const std::size_t item = size_of(types[i].second);
                   CHECK(tensor.dtype() == types[i].second);
                   CHECK(reinterpret_cast<std::uintptr_t>(tensor.raw()) % item == 0);
                   CHECK(std::string(static_cast<const char*>(tensor.raw()), 2 * item) ==
                         storages[i].substr(item));
                 }
               });
    }
  }
}

TEST_CASE("pytorch_model.bin: tensors may share a storage, be strided or empty") {
  std::vector<BinTensor> tensors(5, whole_tensor("whole"));
  tensors[1].name = "tied";
  tensors[2] = {
      .name = "column", .storage_count = 6, .storage_offset = 1, .shape = {2, 1}, .strides = {3, 1LL << 60}};
  tensors[3] = {.name = "empty", .storage_count = 6, .shape = {0, 4}, .strides = {4, 1LL << 62}};
  tensors[4] = {.name = "scalar", .storage_count = 6, .storage_offset = 4, .shape = {}, .strides = {}};
  for (const bool align : {true, false}) {
    open_bin(pytorch_bin_file(state_dict_pickle(tensors), {bytes_of(six_values)}, {.align = align}),
             [&](const Checkpoint& c) {
               CHECK(c.tensor("whole").raw() == c.tensor("tied").raw());
               CHECK(c.tensor("column").strides() == Dims{3, 1});
               CHECK(values_of<float>(c.tensor("column")) == std::vector<float>{1, 4});
               CHECK(c.tensor("empty").shape() == Dims{0, 4});
               CHECK(values_of<float>(c.tensor("scalar")) == std::vector<float>{4});
             });
  }
}

TEST_CASE("pytorch_model.bin: tensors outside their storage are refused") {
  BinTensor tensor = whole_tensor("layer.weight");
  const auto refused = [&](auto change, std::string_view part) {
    BinTensor changed = tensor;
    change(changed);
    expect_tensor_refused(changed, part);
  };
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  refused([](BinTensor& t) { t.storage_offset = 1; }, "outside");
  refused([](BinTensor& t) { t.storage_offset = -1; }, "outside");
  refused([](BinTensor& t) { t.storage_offset = huge; }, "outside");
  refused([](BinTensor& t) { t.strides = {4, 1}; }, "outside");
  refused([](BinTensor& t) { t.strides = {huge, huge}; }, "outside");
  refused([](BinTensor& t) { t.strides = {-3, 1}; }, "outside");
  refused([](BinTensor& t) { t.shape = {huge, huge}; }, "too many");
  refused([](BinTensor& t) { t.shape = {0, huge, huge}, t.strides = {1, 1, 1}; }, "too many");
  refused([](BinTensor& t) { t.shape = {-2, -3}; }, "negative");
  refused([](BinTensor& t) { t.shape = {1 << 30, 3}, t.strides = {0, 1}; }, "expanded");
  refused([](BinTensor& t) { t.strides = {1}; }, "strides");
  refused([](BinTensor& t) { t.storage_count = 7; }, "storage of 7");
  refused([](BinTensor& t) { t.storage_count = huge; }, "storage of");
  refused([](BinTensor& t) { t.storage_count = -1; }, "storage of -1");
  refused([](BinTensor& t) { t.storage_type = "DoubleStorage"; }, "storage of 6");
  refused([](BinTensor& t) { t.storage_key = "1"; }, "archive/data/1");
  refused([](BinTensor& t) { t.storage_key = "../data.pkl"; }, "missing");
  refused([](BinTensor& t) { t.shape.assign(65, 1), t.strides.assign(65, 1); }, "65 axes");
}

TEST_CASE("pytorch_model.bin: more axes than Ophis has are an error of that tensor alone") {
  BinTensor deep = whole_tensor("deep");
  deep.shape.assign(7, 1);
  deep.strides.assign(7, 1);
  open_bin(pytorch_bin_file(state_dict_pickle({deep, whole_tensor("fine")}), {bytes_of(six_values)}),
           [](const Checkpoint& c) {
             CHECK(c.tensor("fine").count() == 6);
             expect_error(ErrorCode::unsupported, {"deep", "7 axes"}, [&] { c.tensor("deep"); });
           });
}

TEST_CASE("pytorch_model.bin: a state dict inside a dict, other values passed over") {
  for (const char* key : {"state_dict", "model"}) {
    PickleWriter pickle;
    pickle.op('}').op('(').text("epoch").integer(3).text("rates").op(']').op('(').op('G').raw(
        std::string(8, '\0'));
    pickle.op('N').op('e').text(key).op('}').op('(').text("w");
    write_tensor(pickle, whole_tensor("w"));
    pickle.text("_count").integer(1).op('u').op('u');
    open_bin(pytorch_bin_file(pickle.finish(), {bytes_of(six_values)}),
             [](const Checkpoint& c) { CHECK(c.names() == std::vector<std::string>{"w"}); });
  }
}

TEST_CASE("pytorch_model.bin: anything but tensors is refused by name") {
  const auto refused = [](std::string_view body, std::initializer_list<std::string_view> parts) {
    expect_refused(ErrorCode::unsupported, file_of_pickle(body), parts);
  };
  refused("cos\nsystem\n(X\x02\0\0\0lstR.", {"\"os\" \"system\"", "pytorch_model.bin"});
  refused("c__builtin__\neval\n.", {"eval"});
  refused("ctorch._utils\n_rebuild_tensor\n.", {"_rebuild_tensor"});
  refused("ctorch\nComplexFloatStorage\n.", {"ComplexFloatStorage"});
  refused("}\x81.", {"0x81"});                // NEWOBJ
  refused("(ios\nsystem\n.", {"0x69"});       // INST
  refused("\x82\x01.", {"0x82"});             // EXT1
  refused("I1\n.", {"0x49"});                 // a decimal number of protocol 0
  refused("K\x01.", {"an integer", "dict"});  // not a dict
  refused(")\x85.", {"a tuple"});
  using namespace std::string_literals;
  refused("}X\1\0\0\0aK\1s."s, {"without tensors"});
  expect_refused(ErrorCode::unsupported, pytorch_bin_file("\x80\x05}.", {}), {"protocol 5"});
  expect_refused(ErrorCode::unsupported, pytorch_bin_file("\x80\x01}.", {}), {"protocol 1"});
}

TEST_CASE("pytorch_model.bin: a pickle that makes no sense is refused") {
  using namespace std::string_literals;
  const auto refused = [](const std::string& body, std::string_view part) {
    CAPTURE(body);
    expect_refused(ErrorCode::corrupt_data, file_of_pickle(body), {"data.pkl", part});
  };
  expect_refused(ErrorCode::corrupt_data, pytorch_bin_file("", {}), {"truncated"});
  expect_refused(ErrorCode::corrupt_data, pytorch_bin_file("}.", {}), {"protocol"});
  refused("}", "truncated");
  refused(".", "0 values");
  refused("}}.", "2 values");
  refused("}(.", "1 values");
  refused("t.", "mark");
  refused("K\1\x87.", "missing on the stack");
  refused("(K\1K\1\x87.", "missing on the stack");
  refused("K\1(K\1a.", "missing on the stack");
  refused("}(K\1u.", "key without a value");
  refused("](K\1K\1u.", "a list instead of a dict");
  refused("q\0."s, "remember");
  refused("h\7.", "remembered");
  refused("}r\xff\xff\xff\xff.", "memo index");
  refused("X\xff\xff\xff\xffx.", "truncated");
  refused("\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", "truncated");
  refused("\x8b\xff\xff\xff\x7f\1.", "an integer of");
  refused("\x8a\x09" + std::string(9, '\1') + ".", "an integer of 9");
  refused("\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.", "frame");
  refused("c" + std::string(300, 'x') + "\ny\n.", "without an end");
  refused("K\1Q.", "instead of a tuple");
  refused("K\1)R.", "instead of a function");
  refused("ccollections\nOrderedDict\nK\1R.", "instead of a tuple");
  refused("ccollections\nOrderedDict\n]\x85R.", "OrderedDict");
  refused("ctorch._utils\n_rebuild_tensor_v2\n)R.", "0 values");
  refused("ctorch._utils\n_rebuild_parameter\nNNN\x87R.", "parameter");
  refused("}NN\x86" + "b."s, "instead of a dict");
  // A tensor whose arguments have the wrong kinds, and a storage that is not one.
  refused("}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtRs."s, "instead of a storage");
  refused("}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n()QNNNNNtRs."s, "unknown storage");
  const BinTensor latin1 = whole_tensor("caf\xe9");
  expect_refused(ErrorCode::corrupt_data,
                 pytorch_bin_file(state_dict_pickle({latin1}), {bytes_of(six_values)}), {"caf", "not UTF-8"});
  const BinTensor twin = whole_tensor("twin");
  expect_refused(ErrorCode::corrupt_data,
                 pytorch_bin_file(state_dict_pickle({twin, twin}), {bytes_of(six_values)}),
                 {"twin", "twice"});
}

TEST_CASE("pytorch_model.bin: nesting and cycles take no stack") {
  // A list in a list in a list ..., and a list that holds itself.
  const std::string deep = std::string(200'000, ']') + std::string(199'999, 'a');
  expect_refused(ErrorCode::unsupported, file_of_pickle(deep + "."), {"a list"});
  using namespace std::string_literals;
  expect_refused(ErrorCode::unsupported, file_of_pickle("]q\0h\0a."s), {"a list"});
  expect_refused(ErrorCode::unsupported, file_of_pickle("}X\1\0\0\0aq\0}q\1h\0h\1ss."s), {"without tensors"});
}

TEST_CASE("pytorch_model.bin: other formats are told apart") {
  using namespace std::string_literals;
  const std::string legacy = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;
  expect_refused(ErrorCode::unsupported, legacy, {"PyTorch before 1.6", "torch.save"});
  expect_refused(ErrorCode::corrupt_data, "version https://git-lfs.github.com/spec/v1\n", {"Git LFS"});
  expect_refused(ErrorCode::corrupt_data, "", {"not a zip archive"});
  expect_refused(ErrorCode::corrupt_data, "PK\3\4 and no more", {"not a zip archive"});
  const std::string pickle = state_dict_pickle({whole_tensor("w")});
  expect_refused(ErrorCode::unsupported, pytorch_bin_file(pickle, {bytes_of(six_values)}, {}, "big"),
                 {"\"big\""});
  expect_refused(ErrorCode::unsupported, pytorch_bin_file(pickle, {bytes_of(six_values)}, {.method = 8}),
                 {"compressed"});
}

TEST_CASE("pytorch_model.bin: a broken archive is refused") {
  const std::string pickle = state_dict_pickle({whole_tensor("w")});
  ZipWriter other;
  other.add("readme.txt", "hello");
  expect_refused(ErrorCode::corrupt_data, other.finish(), {"data.pkl"});
  ZipWriter twice;
  twice.add("a/data.pkl", pickle);
  twice.add("a/data.pkl", pickle);
  expect_refused(ErrorCode::corrupt_data, twice.finish(), {"a/data.pkl", "twice"});
  ZipWriter two;
  two.add("a/data.pkl", pickle);
  two.add("b/data.pkl", pickle);
  expect_refused(ErrorCode::corrupt_data, two.finish(), {"more than one"});

  // Fields of the end record: number of entries at 10, size of the directory at 12, its offset at 16.
  const std::string good = pytorch_bin_file(pickle, {bytes_of(six_values)});
  const auto with_end_field = [&](std::size_t at, const std::string& bytes) {
    return std::string(good).replace(good.size() - 22 + at, bytes.size(), bytes);
  };
  expect_refused(ErrorCode::corrupt_data, with_end_field(10, "\xfe\xff"), {"cannot hold"});
  expect_refused(ErrorCode::corrupt_data, with_end_field(12, "\xfe\xff\xff\xff"), {"outside the file"});
  expect_refused(ErrorCode::corrupt_data, with_end_field(16, std::string(4, '\0')), {"directory"});
  expect_refused(ErrorCode::corrupt_data, with_end_field(16, "\xff\xff\xff\xff"), {"outside the file"});
  expect_refused(ErrorCode::unsupported, with_end_field(4, std::string("\1\0", 2)), {"divided"});
  // The second entry of the directory points at the first one's header.
  const std::size_t second = good.find("PK\1\2", good.find("PK\1\2") + 4);
  expect_refused(ErrorCode::corrupt_data, std::string(good).replace(second + 42, 4, std::string(4, '\0')),
                 {"another name"});
  // The first entry is said to be longer than it is, in both sizes.
  const std::size_t first = good.find("PK\1\2");
  const std::string longer = little_endian(static_cast<std::uint32_t>(pickle.size() + 64));
  expect_refused(ErrorCode::corrupt_data, std::string(good).replace(first + 20, 8, longer + longer),
                 {"overlaps"});
  expect_refused(ErrorCode::corrupt_data, std::string(good).replace(first + 20, 4, longer), {"two sizes"});
}

TEST_CASE("pytorch_model.bin: shards are found through the index") {
  const TemporaryFolder folder;
  const std::string file = pytorch_bin_file(state_dict_pickle({whole_tensor("w")}), {bytes_of(six_values)});
  folder.write("pytorch_model-1.bin", file);
  folder.write("pytorch_model.bin.index.json", R"({"weight_map":{"w":"pytorch_model-1.bin"}})");
  CHECK(values_of<float>(Checkpoint::open(folder.path()).tensor("w")) == six_values);
  folder.write("pytorch_model.bin", file);
  CHECK(Checkpoint::open(folder.path()).files().front().filename() == "pytorch_model.bin");
  CHECK(Checkpoint::open(folder.write("renamed", file)).names() == std::vector<std::string>{"w"});
}
