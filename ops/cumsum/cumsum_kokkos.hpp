// The portable kernel of cumsum: associative_scan with a sum.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "ophis/ops/associative_scan.hpp"
#include "ophis/ops/cumsum.hpp"

namespace ophis::cumsum_kokkos {

/// Integers wrap around, so that an int32 sum is the int64 sum's low half.
template <class T>
struct Sum {
  KOKKOS_FUNCTION ScanTuple<T> operator()(const ScanTuple<T>& a, const ScanTuple<T>& b) const {
    if constexpr (std::is_integral_v<T>) {
      using Word = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<Word>(get<0>(a)) + static_cast<Word>(get<0>(b)));
    } else {
      return get<0>(a) + get<0>(b);
    }
  }
};

template <class In, class Out>
void run(ExecContext& exec, const CumsumArgs& args) {
  detail::scan<detail::ScanTypes<In>, detail::ScanTypes<Out>>(exec, Sum<ScanValue<Out>>{}, std::array{args.x},
                                                              std::array{args.out}, args.axis, args.reverse);
}

inline void forward(ExecContext& exec, const CumsumArgs& args) {
  switch (args.x.dtype()) {
    case DType::float64:
      return run<double, double>(exec, args);
    case DType::int64:
      return run<std::int64_t, std::int64_t>(exec, args);
    case DType::int32:
      if (args.out.dtype() == DType::int64) return run<std::int32_t, std::int64_t>(exec, args);
      return run<std::int32_t, std::int32_t>(exec, args);
    default:
      dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) { run<T, T>(exec, args); });
  }
}

}  // namespace ophis::cumsum_kokkos
