// Moving tensors between the host and devices.
#pragma once

#include "ophis/core/buffer.hpp"
#include "ophis/core/exec_context.hpp"

namespace ophis {

/// Copies the elements of `from` to `to`: same shape and dtype, each on the CPU or on the context's device,
/// both dense row-major; on the CPU `from` may have any strides. On a GPU the copy is queued like an op; from
/// or to the host's ordinary memory it may still make the caller wait. Throws Error(invalid_argument).
void copy(ExecContext& exec, const Tensor& from, const Tensor& to);

/// A dense copy of a dense tensor on a device, which is the CPU or the context's own; it is ready to be read
/// on return where that is the CPU.
OwnedTensor copy_to(ExecContext& exec, const Tensor& tensor, Device device);

/// Sets all bytes of a dense tensor on the context's device to zero.
void fill_with_zeros(ExecContext& exec, const Tensor& tensor);

/// A tensor, dense or on the CPU, on the context's device: itself where it is there already, else a copy in
/// the workspace, valid until the caller's Workspace::Scope ends. An absent tensor stays absent.
Tensor on_device(ExecContext& exec, const Tensor& tensor);

}  // namespace ophis
