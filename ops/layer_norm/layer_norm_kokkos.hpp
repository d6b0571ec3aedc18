// The portable kernel of layer_norm: rms_norm's, with the mean subtracted.
#pragma once

#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/rms_norm/rms_norm_kokkos.hpp"

namespace ophis::layer_norm_kokkos {

inline void forward(ExecContext& exec, const LayerNormArgs& args) {
  rms_norm_kokkos::run<rms_norm_kokkos::Center::mean>(exec, "ophis::layer_norm", as_rms_norm(args));
}

}  // namespace ophis::layer_norm_kokkos
