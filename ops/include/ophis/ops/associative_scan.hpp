// Inclusive scan with an associative functor of the caller's. The one public header that includes Kokkos: a
// program that uses it links Ophis::ophis and Kokkos::kokkos.
#pragma once

#include <array>
#include <type_traits>

#include "ophis/ops/associative_scan_kernel.hpp"
#include "ophis/ops/associative_scan_tuple.hpp"

namespace ophis {

struct ScanOptions {
  int axis = -1;         ///< the axis that is scanned; negative counts from the end
  bool reverse = false;  ///< scan from the last position to the first: flip, scan, flip
};

/// Along one axis of a tuple of tensors, with x_l the tuple of their elements at position l:
///
///   out_0 = x_0,  out_l = combine(out_{l-1}, x_l)                 (reverse: out_l = combine(out_{l+1}, x_l))
///
/// but grouped otherwise, in a way that depends on the position in the row only. `combine` is a functor
///
///   KOKKOS_FUNCTION Value operator()(const Value& earlier, const Value& later) const;
///
/// with Value = ScanTuple<ScanValue<Elements>...>: float where a tensor is 16 bits wide. It must be
/// associative (for floating point: but for rounding) and need not be commutative: `earlier` always covers
/// positions that the scan meets before those of `later`, which in a reverse scan are the ones with the
/// higher index. It is copied to the device as bytes.
///
/// The result of a row depends on that row only: not on the other rows, the number of threads, the layout in
/// memory or how the work is shared out; but a GPU groups otherwise than a CPU, and on a CUDA device rows
/// that are dense in memory are grouped otherwise than others. (For a functor with floating point products in
/// sums, as a * b + c * d, the compiler may choose which product it fuses; write Kokkos::fma where every bit
/// counts.)
///
/// Elements are the tensors' element types, each one of float, bfloat16, float16, double, std::int32_t and
/// std::int64_t. Inputs and outputs all have one shape, of 1 to Dims::max_rank axes, and any strides.
/// outputs[i] may be any of the inputs, with the same strides; otherwise they must not overlap. Throws
/// Error(invalid_argument).
///
///   associative_scan<float, float>(exec, LinearRecurrence{}, {a, b}, {out_a, out_b}, {.axis = 1});
template <class... Elements, class Combine>
void associative_scan(ExecContext& exec, const Combine& combine,
                      const std::array<Tensor, sizeof...(Elements)>& inputs,
                      const std::array<Tensor, sizeof...(Elements)>& outputs,
                      const ScanOptions& options = {}) {
  using Types = detail::ScanTypes<Elements...>;
  using Value = ScanTuple<ScanValue<Elements>...>;
  static_assert(std::is_invocable_r_v<Value, const Combine&, const Value&, const Value&>,
                "combine must be callable as Value operator()(const Value&, const Value&) const");
  detail::scan<Types, Types>(exec, combine, inputs, outputs, options.axis, options.reverse);
}

}  // namespace ophis
