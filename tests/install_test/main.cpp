// Calls one op on two time steps, and one Kokkos function, which comes with Ophis.
#include <Kokkos_Core.hpp>
#include <array>
#include <iostream>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"
#include "ophis/ops/causal_conv1d.hpp"

int main() {
  std::array<float, 2> x{1.0F, 2.0F}, weight{10.0F, 100.0F}, out{};
  ophis::ExecContext exec;
  ophis::causal_conv1d(exec, {.x = {x.data(), ophis::DType::float32, {1, 2, 1}},
                              .weight = {weight.data(), ophis::DType::float32, {1, 2}},
                              .out = {out.data(), ophis::DType::float32, {1, 2, 1}}});
  exec.fence();
  std::cout << out[0] << ' ' << out[1] << '\n';
  const bool right = out[0] == 100.0F && out[1] == 210.0F;
  return right && Kokkos::is_initialized() ? 0 : 1;
}
