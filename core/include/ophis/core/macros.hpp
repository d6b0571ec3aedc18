// Function annotations, so that plain C++ and device compilers read the same headers.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define OPHIS_INLINE_FUNCTION __host__ __device__ inline __attribute__((always_inline))
#else
#define OPHIS_INLINE_FUNCTION inline __attribute__((always_inline))
#endif
