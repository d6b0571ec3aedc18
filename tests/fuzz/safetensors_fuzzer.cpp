#include "models/src/safetensors_reader.hpp"
#include "tests/fuzz/fuzz_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ophis::test::fuzz_reader(data, size, ophis::read_safetensors);
  return 0;
}
