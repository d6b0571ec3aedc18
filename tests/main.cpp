#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

#include "tests/support/device.hpp"

/// The address sanitizer asks for its options here: an allocation that fails is to return, as it does without
/// the sanitizer.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

/// What tells ctest that tests were skipped.
constexpr int skipped = 77;

int main(int argc, char** argv) {
  // Tests read managed memory as soon as an op returns.
  setenv("CUDA_LAUNCH_BLOCKING", "1", 0);
  setenv("HIP_LAUNCH_BLOCKING", "1", 0);
  const ophis::Device device = ophis::test::device();
  if (const std::string reason = ophis::why_unavailable(device); !reason.empty()) {
    std::cout << "skipped: OPHIS_TEST_DEVICE is " << device << ", which cannot be used: " << reason << '\n';
    return skipped;
  }
  return doctest::Context(argc, argv).run();
}
