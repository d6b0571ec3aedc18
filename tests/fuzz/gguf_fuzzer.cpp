#include "models/src/gguf/block_formats.hpp"
#include "models/src/gguf/gguf_reader.hpp"
#include "tests/fuzz/fuzz_reader.hpp"

namespace {

/// Also takes the blocks of quantized matrices apart.
ophis::FileContents read(std::span<const std::byte> file, std::string_view origin) {
  ophis::FileContents contents = ophis::read_gguf(file, origin);
  for (const ophis::TensorRecord& record : contents.tensors) {
    if (record.shape.size() != 2 || !ophis::gguf::can_unpack(record.file_dtype)) continue;
    const std::vector<std::byte> blocks(file.data() + record.region_offset,
                                        file.data() + record.region_offset + record.region_bytes);
    static_cast<void>(ophis::gguf::dequantize(
        ophis::gguf::unpack(record.file_dtype, blocks, record.shape[0], record.shape[1])));
  }
  return contents;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ophis::test::fuzz_reader(data, size, read);
  return 0;
}
