#include "ops/common/dense.hpp"

#include <algorithm>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"

namespace ophis {
namespace {

/// The offsets of a strided tensor's elements, by their position in row-major order.
struct Offsets {
  std::int64_t shape[Dims::max_rank];
  std::int64_t strides[Dims::max_rank];
  int rank;

  explicit Offsets(const Tensor& tensor) : shape{}, strides{}, rank(tensor.rank()) {
    for (int axis = 0; axis < rank; ++axis) {
      shape[axis] = tensor.extent(axis);
      strides[axis] = tensor.stride(axis);
    }
  }

  KOKKOS_INLINE_FUNCTION std::int64_t operator[](std::int64_t i) const {
    std::int64_t offset = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += i % shape[axis] * strides[axis];
      i /= shape[axis];
    }
    return offset;
  }
};

/// One item: a row of the last axis on a CPU, an element on a GPU, where threads then write side by side.
template <class T, int W>
struct Gather {
  const T* from;
  Offsets offsets;
  float* to;
  std::int64_t length, stride;  // of what an item reads

  Gather(const Tensor& tensor, const Tensor& dense)
      : from(tensor.data<T>()),
        offsets(tensor),
        to(dense.data<float>()),
        length(W == 1 ? 1 : std::max<std::int64_t>(1, tensor.extent(-1))),
        stride(tensor.stride(-1)) {}

  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t item) const {
    const T* const row = from + offsets[item * length];
    for (std::int64_t i = 0; i < length; i += W) {
      const int count = static_cast<int>(Kokkos::min<std::int64_t>(W, length - i));
      store(to + item * length + i, 1, count, load<W>(row + i * stride, stride, count));
    }
  }
};

template <class T>
struct Scatter {
  const float* from;
  T* to;
  Offsets offsets;
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t i) const { to[offsets[i]] = T(from[i]); }
};

}  // namespace

Tensor as_dense_float32(ExecContext& exec, const Tensor& parameter) {
  if (!parameter || (parameter.dtype() == DType::float32 && parameter.is_contiguous())) return parameter;
  const Tensor dense = exec.workspace().take_tensor(DType::float32, parameter.shape());
  dispatch_compute_dtype(parameter.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      const Gather<T, pack_width<std::remove_cvref_t<decltype(space)>>> gather(parameter, dense);
      for_each_element(space, "ophis::as_dense_float32", parameter.count() / gather.length, gather);
    });
  });
  return dense;
}

void from_dense_float32(ExecContext& exec, const Tensor& dense, const Tensor& to) {
  dispatch_compute_dtype(to.dtype(), [&]<class T>(std::type_identity<T>) {
    const Scatter<T> scatter{dense.data<float>(), to.data<T>(), Offsets(to)};
    with_exec_space(exec, [&](const auto& space) {
      for_each_element(space, "ophis::from_dense_float32", to.count(), scatter);
    });
  });
}

bool has_aligned_rows(const Tensor& tensor, std::int64_t bytes) {
  if (!tensor) return true;
  const std::int64_t count = bytes / static_cast<std::int64_t>(size_of(tensor.dtype()));
  bool aligned = tensor.stride(-1) == 1 &&
                 reinterpret_cast<std::uintptr_t>(tensor.raw()) % static_cast<std::uintptr_t>(bytes) == 0;
  for (int axis = 0; axis < tensor.rank() - 1; ++axis) {
    aligned = aligned &&
              (tensor.extent(axis) == 1 || (tensor.stride(axis) > 0 && tensor.stride(axis) % count == 0));
  }
  return aligned;
}

}  // namespace ophis
