// The tensors of an associative scan as kernels see them. Not an interface: include associative_scan.hpp.
#pragma once

#include <span>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"
#include "ophis/ops/associative_scan_tuple.hpp"

namespace ophis::detail {

/// The rows of a scan: every index of the tensors but the one along the scan's axis.
struct ScanRows {
  static constexpr int max_axes = Dims::max_rank - 1;

  std::int64_t count;
  std::int64_t length;  // positions of a row
  std::int64_t chunk;   // positions that are combined one after the other
  int axes;
  std::int64_t shape[max_axes];  // the innermost axis last
  bool dense;                    // whether the innermost axis has stride 1 in every tensor

  OPHIS_INLINE_FUNCTION std::int64_t chunks() const { return (length + chunk - 1) / chunk; }
  OPHIS_INLINE_FUNCTION std::int64_t innermost() const { return axes > 0 ? shape[axes - 1] : 1; }
};

/// How one tensor of a scan lies in memory, in elements.
struct ScanLayout {
  std::int64_t begin;  // where the scan of row 0 starts
  std::int64_t step;   // from one position to the next in the scan's direction
  std::int64_t row_strides[ScanRows::max_axes];
};

/// Checks the tensors of a scan, which must all be given with one shape and these dtypes, and says how they
/// lie; the row axis that is innermost in the first input's memory comes last. Throws
/// Error(invalid_argument).
ScanRows plan_scan(ExecContext& exec, std::span<const Tensor> inputs, std::span<const DType> input_dtypes,
                   std::span<const Tensor> outputs, std::span<const DType> output_dtypes, int axis,
                   bool reverse, std::span<ScanLayout> input_layouts, std::span<ScanLayout> output_layouts);

template <class T, int W>
struct ScanVector {
  T lanes[W];
};

/// The values of W neighbouring rows, each tensor's by itself, so that loops over lanes become vector code.
template <class Value, int W>
struct ScanValues;
template <class... Ts, int W>
struct ScanValues<ScanTuple<Ts...>, W> {
  ScanTuple<ScanVector<Ts, W>...> vectors;

  OPHIS_INLINE_FUNCTION ScanTuple<Ts...> operator[](int lane) const {
    return at(lane, std::index_sequence_for<Ts...>());
  }
  OPHIS_INLINE_FUNCTION void set(int lane, const ScanTuple<Ts...>& value) {
    set(lane, value, std::index_sequence_for<Ts...>());
  }

 private:
  template <std::size_t... I>
  OPHIS_INLINE_FUNCTION ScanTuple<Ts...> at(int lane, std::index_sequence<I...>) const {
    return ScanTuple<Ts...>(get<I>(vectors).lanes[lane]...);
  }
  template <std::size_t... I>
  OPHIS_INLINE_FUNCTION void set(int lane, const ScanTuple<Ts...>& value, std::index_sequence<I...>) {
    ((get<I>(vectors).lanes[lane] = get<I>(value)), ...);
  }
};

template <class... Ts>
struct ScanTypes {
  static constexpr std::size_t count = sizeof...(Ts);
  static constexpr DType dtypes[] = {dtype_of<Ts>...};
};

/// The tensors on one side of a scan.
template <class Types, class Indices = std::make_index_sequence<Types::count>>
struct ScanOperands;
template <class... Ts, std::size_t... I>
struct ScanOperands<ScanTypes<Ts...>, std::index_sequence<I...>> {
  using Pointers = ScanTuple<Ts*...>;
  using Value = ScanTuple<ScanValue<Ts>...>;

  Pointers data;
  ScanLayout layouts[sizeof...(Ts)];

  ScanOperands(std::span<const Tensor> tensors, std::span<const ScanLayout> from)
      : data(tensors[I].template data<Ts>()...), layouts{from[I]...} {}

  /// The addresses of one position of one row.
  OPHIS_INLINE_FUNCTION Pointers at(const ScanRows& rows, std::int64_t row, std::int64_t position) const {
    std::int64_t offsets[] = {layouts[I].begin + position * layouts[I].step...};
    for (int axis = rows.axes - 1; axis >= 0; --axis) {
      const std::int64_t index = row % rows.shape[axis];
      row /= rows.shape[axis];
      ((offsets[I] += index * layouts[I].row_strides[axis]), ...);
    }
    return Pointers(get<I>(data) + offsets[I]...);
  }

  /// The values `position` steps behind the addresses, of that row and its W - 1 dense neighbours.
  template <class To, int W>
  OPHIS_INLINE_FUNCTION void read(const Pointers& from, std::int64_t position, ScanValues<To, W>& to) const {
    (convert(get<I>(from) + position * layouts[I].step, get<I>(to.vectors).lanes, W), ...);
  }
  template <int W>
  OPHIS_INLINE_FUNCTION void write(const ScanValues<Value, W>& from, const Pointers& to,
                                   std::int64_t position) const {
    (convert(get<I>(from.vectors).lanes, get<I>(to) + position * layouts[I].step, W), ...);
  }

 private:
  template <class From, class To>
  OPHIS_INLINE_FUNCTION static void convert(const From* from, To* to, int count) {
    for (int lane = 0; lane < count; ++lane) to[lane] = static_cast<To>(from[lane]);
  }
};

}  // namespace ophis::detail
