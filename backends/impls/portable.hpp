// Entries of an op's list for kernels in portable C++: one for each instruction set that they are compiled
// for (docs/adr/0012-instruction-sets.md).
#pragma once

#include "ophis/core/simd.hpp"
#include "ops/common/implementation.hpp"

/// OPHIS_PORTABLE(LinearArgs, "eigen", why_not, run, rounds_operands) is an Implementation of these members.
/// With OPHIS_CPU_ARCH=dispatch it is three: "eigen_avx512", "eigen_avx2" and "eigen".
#if defined(OPHIS_COMPILED_FOR)

// An object of the kernels for one instruction set; its lists are not read.
#define OPHIS_PORTABLE(Args, name, why_not, run, rounds_operands) \
  ophis::detail::portable<ophis::CpuIsa::OPHIS_COMPILED_FOR, Args, run>(name, why_not, rounds_operands)

#elif OPHIS_CPU_DISPATCH

#define OPHIS_PORTABLE(Args, name, why_not, run, rounds_operands)                                      \
  ophis::detail::portable<ophis::CpuIsa::avx512, Args, run>(name "_avx512", why_not, rounds_operands), \
      ophis::detail::portable<ophis::CpuIsa::avx2, Args, run>(name "_avx2", why_not, rounds_operands), \
      ophis::Implementation<Args> {                                                                    \
    name, why_not, run, rounds_operands                                                                \
  }

#else

#define OPHIS_PORTABLE(Args, name, why_not, run, rounds_operands) \
  ophis::Implementation<Args> { name, why_not, run, rounds_operands }

#endif

namespace ophis::detail {

#if defined(OPHIS_COMPILED_FOR)

static_assert(native_pack_width == (CpuIsa::OPHIS_COMPILED_FOR >= CpuIsa::avx512 ? 16 : 8),
              "this file must be compiled for the instruction set that it is named after");

/// `run`, in the objects of an instruction set; their only symbols that others see.
template <CpuIsa isa, class Args, void (*run)(ExecContext&, const Args&)>
void run_compiled_for(ExecContext& exec, const Args& args) {
  run(exec, args);
}

#else

template <CpuIsa isa, class Args, void (*run)(ExecContext&, const Args&)>
void run_compiled_for(ExecContext& exec, const Args& args);

#endif

template <CpuIsa isa, class Args, void (*run)(ExecContext&, const Args&)>
constexpr Implementation<Args> portable(const char* name, const char* (*why_not)(Device, const Args&),
                                        bool rounds_operands) {
  return {name, why_not, run_compiled_for<isa, Args, run>, rounds_operands, isa};
}

}  // namespace ophis::detail
