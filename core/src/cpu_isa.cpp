#include "ophis/core/cpu_isa.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

#include "ophis/core/error.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ophis {
namespace {

constexpr std::array names{"baseline", "avx2", "avx512", "avx512_vnni", "avx512_bf16"};

#if defined(__x86_64__)

/// F16C, MOVBE and LZCNT, for which not every compiler's __builtin_cpu_supports has a name.
bool has_rest_of_v3() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has_first = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) && (c & bit_MOVBE);
  return has_first && __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT);
}

CpuIsa isa_of_this_cpu() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi") ||
      !__builtin_cpu_supports("bmi2") || !has_rest_of_v3())
    return CpuIsa::baseline;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return CpuIsa::avx2;
  if (!__builtin_cpu_supports("avx512vnni")) return CpuIsa::avx512;
  return __builtin_cpu_supports("avx512bf16") ? CpuIsa::avx512_bf16 : CpuIsa::avx512_vnni;
}

#else

CpuIsa isa_of_this_cpu() { return CpuIsa::baseline; }

#endif

/// What the compiler was free to use in all of the library.
#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
constexpr CpuIsa compiled_in = CpuIsa::avx512_bf16;
#elif defined(__AVX512VNNI__)
constexpr CpuIsa compiled_in = CpuIsa::avx512_vnni;
#elif defined(__AVX512F__)
constexpr CpuIsa compiled_in = CpuIsa::avx512;
#elif defined(__AVX2__)
constexpr CpuIsa compiled_in = CpuIsa::avx2;
#else
constexpr CpuIsa compiled_in = CpuIsa::baseline;
#endif

CpuIsa parse(std::string_view name) {
  for (std::size_t level = 0; level < names.size(); ++level) {
    if (name == names[level]) return static_cast<CpuIsa>(level);
  }
  fail(ErrorCode::invalid_argument, "OPHIS_CPU_ISA is '", name,
       "'; known: baseline, avx2, avx512, avx512_vnni, avx512_bf16");
}

CpuIsa choose() {
  const CpuIsa had = isa_of_this_cpu();
  const char* const name = std::getenv("OPHIS_CPU_ISA");
  if (name == nullptr || *name == '\0') return had;
  const CpuIsa wanted = parse(name);
  if (wanted > had)
    fail(ErrorCode::unsupported, "OPHIS_CPU_ISA is ", name, ", but the CPU has ", to_string(had));
  if (wanted < compiled_in) {
    fail(ErrorCode::unsupported, "OPHIS_CPU_ISA is ", name, ", but this build is compiled for ",
         to_string(compiled_in), " as a whole; one with -DOPHIS_CPU_ARCH=dispatch has kernels for each");
  }
  return wanted;
}

}  // namespace

const char* to_string(CpuIsa isa) noexcept { return names[static_cast<std::size_t>(isa)]; }

CpuIsa cpu_isa() {
  static const CpuIsa chosen = choose();
  return chosen;
}

const char* why_not(CpuIsa isa) {
  if (isa <= cpu_isa()) return nullptr;
  constexpr std::array reasons{
      "", "no AVX2, by the CPU or by OPHIS_CPU_ISA", "no AVX-512, by the CPU or by OPHIS_CPU_ISA",
      "no AVX-512 VNNI, by the CPU or by OPHIS_CPU_ISA", "no AVX-512 BF16, by the CPU or by OPHIS_CPU_ISA"};
  return reasons[static_cast<std::size_t>(isa)];
}

}  // namespace ophis
