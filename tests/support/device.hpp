// The device that tests run on: OPHIS_TEST_DEVICE, e.g. cuda, or the CPU.
#pragma once

#include <cstdlib>

#include "ophis/core/copy.hpp"

namespace ophis::test {

inline Device device() {
  const char* const name = std::getenv("OPHIS_TEST_DEVICE");
  return name ? parse_device(name) : Device::cpu();
}

/// Whether ops check the values of indices before they run: they do where they can read them.
inline bool checks_values() { return device() == Device::cpu(); }

/// Whether a scan combines a row's elements in the same groups wherever they lie; CUDA's one-pass kernel, for
/// dense rows, has groups of its own.
inline bool scans_ignore_layout() { return device().type != DeviceType::cuda; }

/// A copy of a dense tensor on the CPU.
inline OwnedTensor to_host(const Tensor& tensor) {
  ExecContext exec(tensor.device());
  return copy_to(exec, tensor, Device::cpu());
}

}  // namespace ophis::test
