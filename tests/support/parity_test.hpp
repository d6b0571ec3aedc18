// What the tests of all ops share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "ophis/ops/parity.hpp"
#include "ops/parity/problem.hpp"
#include "tests/support/device.hpp"

namespace ophis::test {

/// Tensors on the device that the tests run on, for the host to fill and to read.
class TensorPool : public parity::TensorPool {
 public:
  explicit TensorPool(std::uint32_t seed) : parity::TensorPool(seed, device()) {}

  Tensor floats(const std::vector<float>& values) {
    const Tensor tensor = poisoned(DType::float32, {static_cast<std::int64_t>(values.size())});
    std::copy(values.begin(), values.end(), tensor.data<float>());
    return tensor;
  }

  /// The values of a dense bfloat16 tensor in float32.
  Tensor widened(const Tensor& tensor) {
    const Tensor wide = poisoned(DType::float32, tensor.shape());
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      wide.data<float>()[i] = static_cast<float>(tensor.data<bfloat16>()[i]);
    }
    return wide;
  }
};

/// Checks every implementation of an op, on every problem and dtype, against the reference.
inline void require_parity(const char* op) {
  ExecContext exec(device());
  int ran = 0;
  check_parity(exec, op, [&](const ParityResult& result) {
    INFO(result.op << " " << result.impl << " " << to_string(result.dtype) << ": " << result.problem << " "
                   << result.skipped);
    if (!result.skipped.empty()) return;
    CHECK(result.error <= 1.0);
    ++ran;
  });
  CHECK(ran > 0);
}

/// Whether two tensors of the same shape hold the same bits.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  parity::TensorPool pool(0);
  const Tensor dense_a = pool.as_float64(a), dense_b = pool.as_float64(b);
  return a.shape() == b.shape() && std::memcmp(dense_a.raw(), dense_b.raw(), dense_a.bytes()) == 0;
}

}  // namespace ophis::test
