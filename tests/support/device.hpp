// The device that tests run on: OPHIS_TEST_DEVICE, e.g. cuda, or the CPU.
#pragma once

#include <cstdlib>

#include "ophis/core/copy.hpp"

namespace ophis::test {

inline Device device() {
  const char* const name = std::getenv("OPHIS_TEST_DEVICE");
  return name ? parse_device(name) : Device::cpu();
}

/// A copy of a dense tensor on the CPU.
inline OwnedTensor to_host(const Tensor& tensor) {
  ExecContext exec(tensor.device());
  return copy_to(exec, tensor, Device::cpu());
}

}  // namespace ophis::test
