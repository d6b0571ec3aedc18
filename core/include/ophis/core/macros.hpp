// Function annotations, so that plain C++ and device compilers read the same headers.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define OPHIS_INLINE_FUNCTION __host__ __device__ inline __attribute__((always_inline))
#else
#define OPHIS_INLINE_FUNCTION inline __attribute__((always_inline))
#endif

/// A function of a kernel. nvcc compiles it for the device alone, so that it may call what only that has;
/// other compilers for the CPU too, which runs models of kernels.
#if defined(__CUDACC__)
#define OPHIS_KERNEL_FUNCTION __device__ inline __attribute__((always_inline))
#else
#define OPHIS_KERNEL_FUNCTION OPHIS_INLINE_FUNCTION
#endif

// Whether the compiler is making code for a GPU, from a source that it also compiles for the CPU.
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define OPHIS_ON_GPU 1
#else
#define OPHIS_ON_GPU 0
#endif

// Before a loop of a GPU's code whose trip count is known: no loop remains, and arrays that it indexes can be
// registers. _BY: only so many turns of the loop become one.
#if OPHIS_ON_GPU
#define OPHIS_PRAGMA(text) _Pragma(#text)
#define OPHIS_UNROLL OPHIS_PRAGMA(unroll)
#define OPHIS_UNROLL_BY(turns) OPHIS_PRAGMA(unroll turns)
#else
#define OPHIS_UNROLL            ///< before a loop
#define OPHIS_UNROLL_BY(turns)  ///< only so many turns of the loop become one
#endif
