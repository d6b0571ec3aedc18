// Weights as codes with scales, as kernels read them.
#pragma once

#include <cstdint>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"
#include "ophis/core/tensor.hpp"
#include "ops/common/quantized.hpp"

namespace ophis {

/// Scales or shifts, a row for every output. A default-constructed one, or one made of a Tensor that is not
/// given, tests false.
class GroupValues {
 public:
  GroupValues() = default;
  explicit GroupValues(const Tensor& tensor) : m_data(tensor.raw()), m_dtype(tensor.dtype()) {
    if (tensor) m_stride = tensor.stride(0);
  }

  KOKKOS_INLINE_FUNCTION explicit operator bool() const { return m_data != nullptr; }
  /// W values of row o from group g on.
  template <int W>
  KOKKOS_INLINE_FUNCTION Pack<W> load(std::int64_t o, std::int64_t g) const {
    const std::int64_t at = o * m_stride + g;
    if (m_dtype == DType::bfloat16) return ophis::load<W>(static_cast<const bfloat16*>(m_data) + at);
    if (m_dtype == DType::float16) return ophis::load<W>(static_cast<const float16*>(m_data) + at);
    return ophis::load<W>(static_cast<const float*>(m_data) + at);
  }
  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t o, std::int64_t g) const {
    return load<1>(o, g).lane(0);
  }

 private:
  const void* m_data = nullptr;
  std::int64_t m_stride = 0;
  DType m_dtype = DType::float32;
};

/// A quantized weight as kernels see it.
struct QuantizedRows {
  const std::uint8_t* codes;
  std::int64_t stride;  ///< bytes from row to row
  std::int64_t in_features, group_size;
  int bits;
  GroupValues scale, shift;  ///< shift may be none

  QuantizedRows(const Tensor& weight, const Tensor& scales, const Tensor& shifts, std::int64_t features)
      : codes(weight.data<std::uint8_t>()),
        stride(weight.stride(0)),
        in_features(features),
        group_size(features / scales.extent(1)),
        bits(code_bits(features, weight.extent(1))),
        scale(scales),
        shift(shifts) {}

  /// The scale and the shift of group g of row o.
  struct Group {
    float scale, shift;
  };
  KOKKOS_INLINE_FUNCTION Group group(std::int64_t o, std::int64_t g) const {
    const float s = scale(o, g);
    return {s, shift ? shift(o, g) : -s * middle_code(bits)};
  }

  /// Elements [begin, end) of row o, multiples of 8, as To. They lie in one group.
  template <class To, int W>
  KOKKOS_INLINE_FUNCTION void dequantize(std::int64_t o, std::int64_t begin, std::int64_t end, To* to) const {
    const Group g = group(o, begin / group_size);
    const std::uint8_t* const from = codes + o * stride + begin * bits / 8;
    const std::int64_t bytes = (end - begin) * bits / 8, per_byte = 8 / bits;
    std::int64_t i = 0;
    for (; i + W <= bytes; i += W) convert<To, W>(from + i, g, to + i * per_byte);
    for (; i < bytes; ++i) convert<To, 1>(from + i, g, to + i * per_byte);
  }

 private:
  template <class To, int W>
  KOKKOS_INLINE_FUNCTION void convert(const std::uint8_t* from, const Group& g, To* to) const {
    const Pack<W> scales(g.scale), shifts(g.shift);
    const auto words = load_words<W>(from);
    const auto value = [&](const auto& codes_of_lanes) {
      return fma(to_floats<W>(codes_of_lanes), scales, shifts);
    };
    if (bits == 8)
      store(to, value(words));
    else
      store_pairs(to, value(words & 15u), value(words >> 4));
  }
};

}  // namespace ophis
