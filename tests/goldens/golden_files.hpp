// Where the goldens are, and how their tensors are compared.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "ophis/models/checkpoint.hpp"
#include "ops/common/reference.hpp"
#include "tests/support/device.hpp"

namespace ophis::test {

inline std::filesystem::path goldens_folder() {
  const char* const named = std::getenv("OPHIS_GOLDENS");
  return named ? std::filesystem::path(named) : std::filesystem::path(OPHIS_SOURCE_DIR) / "tests" / "goldens";
}

/// The tensor, or an empty one if the file has none of that name.
inline Tensor find_tensor(const Checkpoint& file, const std::string& name) {
  return file.contains(name) ? file.tensor(name) : Tensor();
}

/// The largest |got - want|; NaN if any difference is. The shapes must be equal.
inline double largest_difference(const Tensor& got, const Tensor& want) {
  REQUIRE(got.shape() == want.shape());
  OwnedTensor copied;
  if (got.device() != Device::cpu()) copied = to_host(got);
  const Elements a(got.device() == Device::cpu() ? got : copied.view()), b(want);
  double largest = 0.0;
  for (std::int64_t i = 0; i < want.count(); ++i) {
    const double difference = std::fabs(a.read(a.offset_of_position(i)) - b.read(b.offset_of_position(i)));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

}  // namespace ophis::test
