// Which vector instructions the CPU's kernels may use.
#pragma once

#include <cstdint>

namespace ophis {

/// Levels of a CPU's instruction set; each contains those before it. Those of CPUs other than x86-64 are all
/// `baseline`.
enum class CpuIsa : std::uint8_t {
  baseline,     ///< what the library as a whole is compiled for
  avx2,         ///< x86-64-v3: AVX2, FMA, F16C, BMI
  avx512,       ///< x86-64-v4: AVX-512 F, BW, CD, DQ, VL
  avx512_vnni,  ///< also AVX-512 VNNI
  avx512_bf16,  ///< also AVX-512 BF16, and whatever else the libraries find (AMX)
};

/// "baseline", "avx2", "avx512", "avx512_vnni" or "avx512_bf16".
const char* to_string(CpuIsa isa) noexcept;

/// The level in use: the CPU's, or the lower one that the environment variable OPHIS_CPU_ISA names. Throws
/// Error(invalid_argument) if it names none, Error(unsupported) if the CPU has less, or if the library as a
/// whole is compiled for more.
CpuIsa cpu_isa();

/// Why implementations that need `isa` cannot run, or nullptr if they can. Throws as cpu_isa() does.
const char* why_not(CpuIsa isa);

}  // namespace ophis
