#include "ops/common/dense.hpp"

#include "ophis/core/kokkos.hpp"

namespace ophis {
namespace {

/// to[i] = float(from at the i-th index in row-major order).
template <class T>
struct Densify {
  const T* from;
  float* to;
  std::int64_t shape[Dims::max_rank];
  std::int64_t strides[Dims::max_rank];
  int rank;

  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t i) const {
    std::int64_t offset = 0;
    std::int64_t rest = i;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += rest % shape[axis] * strides[axis];
      rest /= shape[axis];
    }
    to[i] = static_cast<float>(from[offset]);
  }
};

}  // namespace

Tensor as_dense_float32(ExecContext& exec, const Tensor& parameter) {
  if (!parameter || (parameter.dtype() == DType::float32 && parameter.is_contiguous())) return parameter;
  const Tensor dense = exec.workspace().take_tensor(DType::float32, parameter.shape());
  dispatch_compute_dtype(parameter.dtype(), [&]<class T>(std::type_identity<T>) {
    Densify<T> densify{parameter.data<T>(), dense.data<float>(), {}, {}, parameter.rank()};
    for (int axis = 0; axis < parameter.rank(); ++axis) {
      densify.shape[axis] = parameter.extent(axis);
      densify.strides[axis] = parameter.stride(axis);
    }
    with_exec_space(exec, [&](const auto& space) {
      for_each_element(space, "ophis::as_dense_float32", parameter.count(), densify);
    });
  });
  return dense;
}

}  // namespace ophis
