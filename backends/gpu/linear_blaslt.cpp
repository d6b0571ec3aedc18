// A product is described, and its algorithm looked for, once per shape, dtype and alignment; the descriptions
// are kept. Arithmetic is float32: no TF32. With a bias the product is made in float32 and rounded
// afterwards: cuBLASLt knows a bias of the output's dtype only, and went wrong with small products of 16-bit
// ones.
#include "backends/gpu/linear_blaslt.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <tuple>

#include "backends/gpu/blaslt.hpp"
#include "ops/common/dense.hpp"

namespace ophis::linear_blaslt {
namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

void check(blaslt::Status status, const char* action) {
  if (status == blaslt::success) [[likely]]
    return;
  const ErrorCode code = status == blaslt::alloc_failed ? ErrorCode::out_of_memory : ErrorCode::internal;
  fail(code, "linear: ", blaslt::name, ": ", action, ": ", blaslt::describe(status));
}

blaslt::DataType data_type(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
      return blaslt::r_16bf;
    case DType::float16:
      return blaslt::r_16f;
    default:
      return blaslt::r_32f;
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
  std::uint32_t alignment[3];  // of weight, x, and out and the bias

  auto tied() const {
    return std::tie(device, shape.rows, shape.in_features, shape.out_features, shape.ldx, shape.ldw,
                    shape.ldout, dtype, out_dtype, bias, alignment[0], alignment[1], alignment[2]);
  }
  friend bool operator<(const Key& a, const Key& b) { return a.tied() < b.tied(); }
};

class Layout {
 public:
  Layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    check(blaslt::layout_create(&m_layout, data_type(dtype), static_cast<std::uint64_t>(rows),
                                static_cast<std::uint64_t>(columns), std::max(rows, ld)),
          "describing a matrix");
  }
  ~Layout() { blaslt::layout_destroy(m_layout); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator blaslt::MatrixLayout() const { return m_layout; }

 private:
  blaslt::MatrixLayout m_layout = nullptr;
};

/// One product. The library's matrices are column-major: out^T (out, rows) = weight (in, out)^T x^T (in,
/// rows).
class Product {
 public:
  Product(blaslt::Handle handle, const Key& key)
      : m_weight(key.dtype, key.shape.in_features, key.shape.out_features, key.shape.ldw),
        m_x(key.dtype, key.shape.in_features, key.shape.rows, key.shape.ldx),
        m_out(key.out_dtype, key.shape.out_features, key.shape.rows, key.shape.ldout) {
    check(blaslt::desc_create(&m_operation, blaslt::compute_32f, blaslt::r_32f), "describing the product");
    const blaslt::Operation transposed = blaslt::op_t;
    set(blaslt::desc_transa, transposed);
    if (key.bias) {
      const blaslt::Epilogue epilogue = blaslt::epilogue_bias;
      set(blaslt::desc_epilogue, epilogue);
    }
    choose_algorithm(handle, key);
  }
  ~Product() { blaslt::desc_destroy(m_operation); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// Not safe for two threads at once where there is a bias, whose address the description holds.
  void run(blaslt::Handle handle, ExecContext& exec, const LinearArgs& args) {
    if (args.bias) {
      const void* const bias = args.bias.raw();
      set(blaslt::desc_bias_pointer, bias);
    }
    void* const workspace = exec.workspace().take<char>(static_cast<std::int64_t>(workspace_bytes));
    const float one = 1.0f, old = args.accumulate ? 1.0f : 0.0f;
    check(blaslt::matmul(handle, m_operation, &one, args.weight.raw(), m_weight, args.x.raw(), m_x, &old,
                         args.out.raw(), m_out, args.out.raw(), m_out, &m_algorithm, workspace,
                         workspace_bytes, gpu::stream(exec)),
          "multiplying");
  }

 private:
  template <class T>
  void set(blaslt::MatmulDescAttributes attribute, const T& value) {
    check(blaslt::desc_set(m_operation, attribute, &value, sizeof value), "describing the product");
  }

  void choose_algorithm(blaslt::Handle handle, const Key& key) {
    blaslt::MatmulPreference preference = nullptr;
    check(blaslt::preference_create(&preference), "choosing an algorithm");
    blaslt::preference_set(preference, blaslt::pref_max_workspace_bytes, &workspace_bytes,
                           sizeof workspace_bytes);
    blaslt::prefer_accurate(preference, key.alignment);
    blaslt::MatmulHeuristicResult result;
    int found = 0;
    const blaslt::Status status = blaslt::algo_get_heuristic(handle, m_operation, m_weight, m_x, m_out, m_out,
                                                             preference, 1, &result, &found);
    blaslt::preference_destroy(preference);
    check(found > 0 ? status : blaslt::not_supported, "choosing an algorithm");
    m_algorithm = result.algo;
  }

  Layout m_weight, m_x, m_out;
  blaslt::MatmulDesc m_operation = nullptr;
  blaslt::MatmulAlgo m_algorithm;
};

/// The handle and the products of all devices. Never destroyed: the driver may be gone when the program ends.
struct Library {
  std::mutex mutex;
  std::map<int, blaslt::Handle> handles;
  std::map<Key, Product> products;
};

Library& library() {
  static Library& the = *new Library;
  return the;
}

/// The product of args whose bias, if any, is dense float32, as then is the output.
void multiply(ExecContext& exec, const LinearArgs& args) {
  const Key key{exec.device().index,
                linear_shape(args),
                args.x.dtype(),
                args.out.dtype(),
                static_cast<bool>(args.bias),
                {alignment_of(args.weight.raw()), alignment_of(args.x.raw()),
                 std::min(alignment_of(args.out.raw()), alignment_of(args.bias.raw()))}};
  Library& all = library();
  const std::lock_guard lock(all.mutex);
  blaslt::Handle& handle = all.handles[key.device];
  if (handle == nullptr) check(blaslt::create(&handle), "starting");
  auto found = all.products.find(key);
  if (found == all.products.end()) found = all.products.try_emplace(key, handle, key).first;
  found->second.run(handle, exec, args);
}

}  // namespace

const char* why_not(Device device, const LinearArgs& args) {
  if (device.type != blaslt::device_type) return "it runs on GPUs only";
  if (args.weight.extent(1) == 0) return "there is nothing to multiply";
  const LinearShape shape = linear_shape(args);
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  if (shape.rows >= limit || shape.in_features >= limit || shape.out_features >= limit)
    return "an extent is beyond 32 bits";
  return nullptr;
}

void run(ExecContext& exec, const LinearArgs& args) {
  gpu::stream(exec);  // makes the device current
  const Workspace::Scope scope(exec.workspace());
  if (!args.bias) return multiply(exec, args);
  LinearArgs in_float32 = args;
  in_float32.bias = as_dense_float32(exec, args.bias);
  if (args.out.dtype() == DType::float32) return multiply(exec, in_float32);
  in_float32.out = args.accumulate ? as_dense_float32(exec, args.out)
                                   : exec.workspace().take_tensor(DType::float32, args.out.shape());
  multiply(exec, in_float32);
  from_dense_float32(exec, in_float32.out, args.out);
}

}  // namespace ophis::linear_blaslt
