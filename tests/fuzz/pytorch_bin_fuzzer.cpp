#include "models/src/pytorch_bin_reader.hpp"
#include "tests/fuzz/fuzz_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ophis::test::fuzz_reader(data, size, ophis::read_pytorch_bin);
  return 0;
}
