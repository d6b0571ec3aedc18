# Two calls of the CUDA runtime took other arguments before CUDA 13; Kokkos has the new form from 4.7.01 on. Changes the
# sources of 4.7.00 in KOKKOS_SOURCE_DIR; where they are new enough it finds nothing to change.
set(file "${KOKKOS_SOURCE_DIR}/core/src/Cuda/Kokkos_Cuda_Instance.hpp")
file(READ "${file}" text)
string(REPLACE "cudaGraphAddDependencies(graph, from, to, numDependencies)"
               "cudaGraphAddDependencies(graph, from, to, nullptr, numDependencies)" text "${text}")
string(REPLACE "cudaMemPrefetchAsync(devPtr, count, dstDevice, m_stream)"
               "cudaMemPrefetchAsync(devPtr, count, cudaMemLocation{cudaMemLocationTypeDevice, dstDevice}, 0, m_stream)"
               text "${text}")
file(WRITE "${file}" "${text}")
