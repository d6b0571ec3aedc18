// A product is described, and its algorithm looked for, once per shape, dtype and alignment; the descriptions
// are kept. Arithmetic is float32: no TF32.
#include "backends/cuda/linear_cublaslt.hpp"

#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <tuple>

#include "ophis/core/cuda.hpp"

namespace ophis::linear_cublaslt {
namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

void check(cublasStatus_t status, const char* action) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  const ErrorCode code =
      status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::out_of_memory : ErrorCode::internal;
  fail(code, "linear: cuBLASLt: ", action, ": ", cublasLtGetStatusString(status));
}

cudaDataType_t to_cuda(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
      return CUDA_R_16BF;
    case DType::float16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

/// The largest power of two, up to 256, that divides an address.
std::uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  return 1u << std::min(8, std::countr_zero(bits | 256u));
}

/// What a description depends on.
struct Key {
  int device;
  LinearShape shape;
  DType dtype, out_dtype;
  bool bias;
  std::uint32_t alignment[3];  // of weight, x and out

  auto tied() const {
    return std::tie(device, shape.rows, shape.in_features, shape.out_features, shape.ldx, shape.ldw,
                    shape.ldout, dtype, out_dtype, bias, alignment[0], alignment[1], alignment[2]);
  }
  friend bool operator<(const Key& a, const Key& b) { return a.tied() < b.tied(); }
};

class Layout {
 public:
  Layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    check(cublasLtMatrixLayoutCreate(&m_layout, to_cuda(dtype), static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), std::max(rows, ld)),
          "describing a matrix");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(m_layout); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return m_layout; }

 private:
  cublasLtMatrixLayout_t m_layout = nullptr;
};

/// One product. cuBLASLt's matrices are column-major: out^T (out, rows) = weight (in, out)^T x^T (in, rows).
class Product {
 public:
  Product(cublasLtHandle_t handle, const Key& key)
      : m_weight(key.dtype, key.shape.in_features, key.shape.out_features, key.shape.ldw),
        m_x(key.dtype, key.shape.in_features, key.shape.rows, key.shape.ldx),
        m_out(key.out_dtype, key.shape.out_features, key.shape.rows, key.shape.ldout) {
    check(cublasLtMatmulDescCreate(&m_operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing the product");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (key.bias) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    }
    choose_algorithm(handle, key);
  }
  ~Product() { cublasLtMatmulDescDestroy(m_operation); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// Not safe for two threads at once where there is a bias, whose address the description holds.
  void run(cublasLtHandle_t handle, ExecContext& exec, const LinearArgs& args) {
    if (args.bias) {
      const void* const bias = args.bias.raw();
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    const Workspace::Scope scope(exec.workspace());
    void* const workspace = exec.workspace().take<char>(static_cast<std::int64_t>(workspace_bytes));
    const float one = 1.0f, old = args.accumulate ? 1.0f : 0.0f;
    check(cublasLtMatmul(handle, m_operation, &one, args.weight.raw(), m_weight, args.x.raw(), m_x, &old,
                         args.out.raw(), m_out, args.out.raw(), m_out, &m_algorithm, workspace,
                         workspace_bytes, cuda::stream(exec)),
          "multiplying");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(m_operation, attribute, &value, sizeof value),
          "describing the product");
  }

  void choose_algorithm(cublasLtHandle_t handle, const Key& key) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "choosing an algorithm");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.alignment[0]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.alignment[1]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.alignment[2]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.alignment[2]);
    // Sums in the output's 16-bit dtype would round partial sums.
    const std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, m_operation, m_weight, m_x, m_out,
                                                                 m_out, preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    check(found > 0 ? status : CUBLAS_STATUS_NOT_SUPPORTED, "choosing an algorithm");
    m_algorithm = result.algo;
  }

  Layout m_weight, m_x, m_out;
  cublasLtMatmulDesc_t m_operation = nullptr;
  cublasLtMatmulAlgo_t m_algorithm;
};

/// The handle and the products of all devices. Never destroyed: the driver may be gone when the program ends.
struct Library {
  std::mutex mutex;
  std::map<int, cublasLtHandle_t> handles;
  std::map<Key, Product> products;
};

Library& library() {
  static Library& the = *new Library;
  return the;
}

}  // namespace

const char* why_not(Device device, const LinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  if (args.bias && (args.out.dtype() != DType::float32 || args.bias.dtype() != DType::float32 ||
                    !args.bias.is_contiguous()))
    return "it adds a bias to a float32 output only, and a dense float32 one";
  if (args.weight.extent(1) == 0) return "there is nothing to multiply";
  const LinearShape shape = linear_shape(args);
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  if (shape.rows >= limit || shape.in_features >= limit || shape.out_features >= limit)
    return "an extent is beyond 32 bits";
  return nullptr;
}

void run(ExecContext& exec, const LinearArgs& args) {
  cuda::stream(exec);  // makes the device current
  const Key key{exec.device().index,
                linear_shape(args),
                args.x.dtype(),
                args.out.dtype(),
                static_cast<bool>(args.bias),
                {alignment_of(args.weight.raw()), alignment_of(args.x.raw()), alignment_of(args.out.raw())}};
  Library& all = library();
  const std::lock_guard lock(all.mutex);
  cublasLtHandle_t& handle = all.handles[key.device];
  if (handle == nullptr) check(cublasLtCreate(&handle), "starting");
  auto found = all.products.find(key);
  if (found == all.products.end()) found = all.products.try_emplace(key, handle, key).first;
  found->second.run(handle, exec, args);
}

}  // namespace ophis::linear_cublaslt
