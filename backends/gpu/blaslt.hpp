// cuBLASLt and hipBLASLt under one set of names: the second has the functions and types of the first.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "ophis/core/gpu_runtime.hpp"

#if defined(__HIP_PLATFORM_AMD__)
#include <hipblaslt/hipblaslt.h>
#define OPHIS_LT(name) hipblasLt##name
#define OPHIS_LT_VALUE(name) HIPBLASLT_##name
#define OPHIS_BLAS(name) hipblas##name
#define OPHIS_BLAS_VALUE(name) HIPBLAS_##name
#define OPHIS_DATA_TYPE(name) HIP_##name
#else
#include <cublasLt.h>
#define OPHIS_LT(name) cublasLt##name
#define OPHIS_LT_VALUE(name) CUBLASLT_##name
#define OPHIS_BLAS(name) cublas##name
#define OPHIS_BLAS_VALUE(name) CUBLAS_##name
#define OPHIS_DATA_TYPE(name) CUDA_##name
#endif

namespace ophis::blaslt {

using Status = OPHIS_BLAS(Status_t);
using Operation = OPHIS_BLAS(Operation_t);
using Handle = OPHIS_LT(Handle_t);
using MatrixLayout = OPHIS_LT(MatrixLayout_t);
using MatmulDesc = OPHIS_LT(MatmulDesc_t);
using MatmulDescAttributes = OPHIS_LT(MatmulDescAttributes_t);
using MatmulPreference = OPHIS_LT(MatmulPreference_t);
using MatmulPreferenceAttributes = OPHIS_LT(MatmulPreferenceAttributes_t);
using MatmulHeuristicResult = OPHIS_LT(MatmulHeuristicResult_t);
using MatmulAlgo = OPHIS_LT(MatmulAlgo_t);
using Epilogue = OPHIS_LT(Epilogue_t);

inline constexpr auto success = OPHIS_BLAS_VALUE(STATUS_SUCCESS);
inline constexpr auto not_supported = OPHIS_BLAS_VALUE(STATUS_NOT_SUPPORTED);
inline constexpr auto alloc_failed = OPHIS_BLAS_VALUE(STATUS_ALLOC_FAILED);
inline constexpr auto op_t = OPHIS_BLAS_VALUE(OP_T);
inline constexpr auto compute_32f = OPHIS_BLAS_VALUE(COMPUTE_32F);
inline constexpr auto r_32f = OPHIS_DATA_TYPE(R_32F);
inline constexpr auto r_16f = OPHIS_DATA_TYPE(R_16F);
inline constexpr auto r_16bf = OPHIS_DATA_TYPE(R_16BF);
using DataType = std::remove_const_t<decltype(r_32f)>;
inline constexpr auto desc_transa = OPHIS_LT_VALUE(MATMUL_DESC_TRANSA);
inline constexpr auto desc_epilogue = OPHIS_LT_VALUE(MATMUL_DESC_EPILOGUE);
inline constexpr auto desc_bias_pointer = OPHIS_LT_VALUE(MATMUL_DESC_BIAS_POINTER);
inline constexpr auto epilogue_bias = OPHIS_LT_VALUE(EPILOGUE_BIAS);
inline constexpr auto pref_max_workspace_bytes = OPHIS_LT_VALUE(MATMUL_PREF_MAX_WORKSPACE_BYTES);

inline constexpr auto* create = OPHIS_LT(Create);
inline constexpr auto* layout_create = OPHIS_LT(MatrixLayoutCreate);
inline constexpr auto* layout_destroy = OPHIS_LT(MatrixLayoutDestroy);
inline constexpr auto* desc_create = OPHIS_LT(MatmulDescCreate);
inline constexpr auto* desc_destroy = OPHIS_LT(MatmulDescDestroy);
inline constexpr auto* desc_set = OPHIS_LT(MatmulDescSetAttribute);
inline constexpr auto* preference_create = OPHIS_LT(MatmulPreferenceCreate);
inline constexpr auto* preference_destroy = OPHIS_LT(MatmulPreferenceDestroy);
inline constexpr auto* preference_set = OPHIS_LT(MatmulPreferenceSetAttribute);
inline constexpr auto* matmul = OPHIS_LT(Matmul);
inline constexpr auto* algo_get_heuristic = OPHIS_LT(MatmulAlgoGetHeuristic);

#if defined(__HIP_PLATFORM_AMD__)

inline constexpr DeviceType device_type = DeviceType::hip;
inline constexpr const char* name = "hipBLASLt";
inline std::string describe(Status status) { return "status " + std::to_string(static_cast<int>(status)); }

/// hipBLASLt asks for no alignment, and sums float32.
inline void prefer_accurate(MatmulPreference, const std::uint32_t (&)[3]) {}

#else

inline constexpr DeviceType device_type = DeviceType::cuda;
inline constexpr const char* name = "cuBLASLt";
inline std::string describe(Status status) { return cublasLtGetStatusString(status); }

/// Algorithms that the alignments of the weight, of x and of the output allow, and that add up in float32:
/// sums in the output's 16-bit dtype would round partial sums.
inline void prefer_accurate(MatmulPreference preference, const std::uint32_t (&alignment)[3]) {
  const auto prefer = [&](MatmulPreferenceAttributes attribute, std::uint32_t value) {
    preference_set(preference, attribute, &value, sizeof value);
  };
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment[0]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment[1]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment[2]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment[2]);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
}

#endif

}  // namespace ophis::blaslt
