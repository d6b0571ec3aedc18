// dt and the other per-head parameters as the portable kernels of ssd_scan and ssd_state_update read them.
#pragma once

#include "ophis/core/simd_math.hpp"
#include "ops/common/strided.hpp"

namespace ophis::ssd_scan_kokkos {

/// Turns dt as it comes into the time step.
struct TimeStep {
  const float* bias;  // (nheads), or nullptr
  bool softplus;
  float min, max;

  template <int W>
  KOKKOS_FUNCTION Pack<W> operator()(Pack<W> dt, std::int64_t head) const {
    if (bias) dt += Pack<W>(bias[head]);
    if (softplus) dt = ophis::softplus(dt);
    return ophis::min(Pack<W>(max), ophis::max(Pack<W>(min), dt));  // in this order NaN stays NaN
  }
};

/// D, by head or by element.
struct Skip {
  const float* D;  // nullptr: zero
  std::int64_t head_stride;
  bool by_element;

  template <int W>
  KOKKOS_FUNCTION Pack<W> at(std::int64_t head, std::int64_t p, int count) const {
    if (D == nullptr) return Pack<W>(0.0f);
    const float* const of_head = D + head * head_stride;
    return by_element ? load<W>(of_head + p, 1, count) : Pack<W>(*of_head);
  }
};

template <class Args>
TimeStep make_time_step(ExecContext& exec, const Args& args) {
  const Tensor bias = as_dense_float32(exec, args.dt_bias);
  return {bias ? bias.data<float>() : nullptr, args.dt_softplus, static_cast<float>(args.dt_min),
          static_cast<float>(args.dt_max)};
}

template <class Args>
Skip make_skip(ExecContext& exec, const Args& args) {
  const Tensor D = as_dense_float32(exec, args.D);
  if (!D) return {nullptr, 0, false};
  return {D.data<float>(), D.rank() == 2 ? D.extent(1) : 1, D.rank() == 2};
}

}  // namespace ophis::ssd_scan_kokkos
