// Dispatch: an op has an ordered list of implementations, fastest first, the portable kernel last; the first
// that accepts the arguments runs. (The idea of oneDNN's implementation lists.)
#pragma once

#include <span>
#include <string_view>

#include "ophis/core/cpu_isa.hpp"
#include "ophis/core/exec_context.hpp"
#include "ophis/ops/implementation.hpp"

namespace ophis {

template <class Args>
struct Implementation {
  const char* name;  ///< unique within the op, e.g. "kokkos", "cuda_sm90"
  /// nullptr if it takes these arguments on this device, else the reason.
  const char* (*why_not_these)(Device device, const Args& args);
  void (*run)(ExecContext& exec, const Args& args);
  /// Whether it rounds intermediate results to the dtype of the activations, to multiply them on tensor
  /// cores: outputs are then that much less exact than float32 arithmetic would make them.
  bool rounds_operands = false;
  CpuIsa isa = CpuIsa::baseline;  ///< what it needs of the CPU

  /// nullptr if it can run these arguments on this device of this machine, else the reason.
  const char* why_not(Device device, const Args& args) const {
    const char* const reason = ophis::why_not(isa);
    return reason ? reason : why_not_these(device, args);
  }
};

/// why_not_these of an implementation that takes everything.
template <class Args>
const char* takes_everything(Device, const Args&) {
  return nullptr;
}

namespace detail {

/// The implementation that is forced for an op, or empty.
std::string_view forced_implementation(std::string_view op);
void report_choice(std::string_view op, std::string_view impl, const char* why_not);
[[noreturn]] void fail_dispatch(std::string_view op, std::string_view forced, const char* why_not);

}  // namespace detail

/// Runs the first implementation in the list that takes `args`, or the forced one.
template <class Args>
void dispatch(std::string_view op, std::span<const Implementation<Args>> list, ExecContext& exec,
              const Args& args) {
  const std::string_view forced = detail::forced_implementation(op);
  const char* reason = "there is no such implementation";
  for (const Implementation<Args>& impl : list) {
    if (!forced.empty() && forced != impl.name) continue;
    reason = impl.why_not(exec.device(), args);
    detail::report_choice(op, impl.name, reason);
    if (reason == nullptr) return impl.run(exec, args);
  }
  detail::fail_dispatch(op, forced, reason);
}

}  // namespace ophis
