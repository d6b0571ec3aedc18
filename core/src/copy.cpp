#include "ophis/core/copy.hpp"

#include <cstring>

#include "core/src/gpu.hpp"

namespace ophis {
namespace {

void check_side(const ExecContext& exec, const char* name, const Tensor& tensor) {
  OPHIS_REQUIRE(tensor.is_contiguous(), "copy: ", name, " is ", tensor, " with strides ", tensor.strides(),
                ", but must be dense");
  OPHIS_REQUIRE(tensor.device() == exec.device() || tensor.device() == Device::cpu(), "copy: ", name,
                " is on device ", tensor.device(), ", but must be on the cpu or on ", exec.device());
}

/// A dense copy of a host tensor.
OwnedTensor packed(const Tensor& tensor) {
  OwnedTensor result(tensor.dtype(), tensor.shape());
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype()));
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    std::int64_t offset = 0, rest = i;
    for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
      offset += rest % tensor.extent(axis) * tensor.stride(axis);
      rest /= tensor.extent(axis);
    }
    std::memcpy(static_cast<char*>(result->raw()) + i * size,
                static_cast<char*>(tensor.raw()) + offset * size, static_cast<std::size_t>(size));
  }
  return result;
}

}  // namespace

void copy(ExecContext& exec, const Tensor& from, const Tensor& to) {
  OPHIS_REQUIRE(from.shape() == to.shape() && from.dtype() == to.dtype(), "copy: from is ", from,
                ", but to is ", to);
  if (from.device() == Device::cpu() && !from.is_contiguous()) return copy(exec, packed(from), to);
  check_side(exec, "from", from);
  check_side(exec, "to", to);
  if (from.count() == 0) return;
  if (exec.device().type == DeviceType::cpu)
    std::memcpy(to.raw(), from.raw(), from.bytes());
  else
    gpu::copy(to.raw(), from.raw(), from.bytes(), exec.native_stream(), exec.device().index);
}

OwnedTensor copy_to(ExecContext& exec, const Tensor& tensor, Device device) {
  OwnedTensor result(tensor.dtype(), tensor.shape(), device);
  copy(exec, tensor, result);
  if (device.type == DeviceType::cpu) exec.fence();
  return result;
}

void fill_with_zeros(ExecContext& exec, const Tensor& tensor) {
  OPHIS_REQUIRE(tensor.is_contiguous() && tensor.device() == exec.device(), "fill_with_zeros: the tensor is ",
                tensor, " on device ", tensor.device(), ", but must be dense and on ", exec.device());
  if (tensor.count() == 0) return;
  if (exec.device().type == DeviceType::cpu)
    std::memset(tensor.raw(), 0, tensor.bytes());
  else
    gpu::fill_with_zeros(tensor.raw(), tensor.bytes(), exec.native_stream(), exec.device().index);
}

Tensor on_device(ExecContext& exec, const Tensor& tensor) {
  if (!tensor || tensor.device() == exec.device()) return tensor;
  const Tensor there = exec.workspace().take_tensor(tensor.dtype(), tensor.shape());
  copy(exec, tensor, there);
  return there;
}

}  // namespace ophis
