// Element access for the sequential references: any float dtype, in double, on the host. Slow and plain on
// purpose.
#pragma once

#include <cmath>

#include "ophis/core/tensor.hpp"

namespace ophis {

/// Reads and writes elements of a host tensor as doubles. float64 tensors are taken too: a reference writes
/// those.
class Elements {
 public:
  explicit Elements(const Tensor& tensor) : m_tensor(tensor) {}

  explicit operator bool() const { return static_cast<bool>(m_tensor); }
  template <class... Index>
  double operator()(Index... index) const {
    return read(offset(Dims{static_cast<std::int64_t>(index)...}));
  }
  template <class... Index>
  void set(double value, Index... index) const {
    write(offset(Dims{static_cast<std::int64_t>(index)...}), value);
  }
  double read(std::int64_t offset) const;
  void write(std::int64_t offset, double value) const;
  /// The element at a position in row-major order.
  double at(std::int64_t position) const { return read(offset_of_position(position)); }
  void set_at(double value, std::int64_t position) const { write(offset_of_position(position), value); }
  /// The offset of an element given its position in row-major order.
  std::int64_t offset_of_position(std::int64_t position) const;

 private:
  std::int64_t offset(const Dims& index) const;

  Tensor m_tensor;
};

namespace reference {

inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double silu(double x) { return x * sigmoid(x); }
inline double softplus(double x) { return x > 20.0 ? x : std::log1p(std::exp(x)); }

/// The bounds of sequence i: all positions, or those between two entries of cu_seqlens.
struct Span {
  std::int64_t row, begin, end;
};
inline Span sequence(const Tensor& cu_seqlens, std::int64_t seqlen, std::int64_t i) {
  if (!cu_seqlens) return {i, 0, seqlen};
  const std::int32_t* const starts = cu_seqlens.data<std::int32_t>();
  return {0, starts[i], starts[i + 1]};
}

}  // namespace reference
}  // namespace ophis
