# CMake toolchain file for AMD GPUs: the compilers of the ROCm that the environment variable ROCM_PATH names, else of
# /opt/rocm. Host code is compiled by the same clang as device code, so that one OpenMP runtime serves both.
set(rocm "$ENV{ROCM_PATH}")
if(rocm STREQUAL "")
  set(rocm /opt/rocm)
endif()
if(NOT EXISTS "${rocm}/llvm/bin/clang++")
  message(FATAL_ERROR "No ROCm at ${rocm}: there is no ${rocm}/llvm/bin/clang++. Install ROCm 6.2 or later, or set ROCM_PATH to "
                      "where it is. Without an AMD GPU, scripts/hip_toolchain.sh makes one to compile with (docs/hip.md)")
endif()
set(CMAKE_C_COMPILER "${rocm}/llvm/bin/clang")
set(CMAKE_CXX_COMPILER "${rocm}/llvm/bin/clang++")
set(CMAKE_HIP_COMPILER "${rocm}/llvm/bin/clang++")
list(APPEND CMAKE_PREFIX_PATH "${rocm}")
