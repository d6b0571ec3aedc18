// Tensors as kernels want them: dense and float32.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// A parameter as dense float32: itself where it is that already, else a copy in the workspace, valid until
/// the caller's Workspace::Scope ends. An absent parameter stays absent.
Tensor as_dense_float32(ExecContext& exec, const Tensor& parameter);

/// Writes the elements of a dense float32 tensor to one of the same shape and any compute dtype and strides.
void from_dense_float32(ExecContext& exec, const Tensor& dense, const Tensor& to);

/// Runs a scan whose kernels know initial_states and final_states in float32 only, whatever their dtype.
template <class Args, class Run>
void with_float32_states(ExecContext& exec, const Args& args, Run&& run) {
  const auto is_float32 = [](const Tensor& states) { return !states || states.dtype() == DType::float32; };
  if (is_float32(args.initial_states) && is_float32(args.final_states)) return run(args);
  const Workspace::Scope scope(exec.workspace());
  Args with_float32 = args;
  with_float32.initial_states = as_dense_float32(exec, args.initial_states);
  if (is_float32(args.final_states)) return run(with_float32);
  with_float32.final_states = exec.workspace().take_tensor(DType::float32, args.final_states.shape());
  run(with_float32);
  from_dense_float32(exec, with_float32.final_states, args.final_states);
}

/// Whether rows of the innermost axis can be read so many bytes at a time; true of a tensor that is not
/// given.
bool has_aligned_rows(const Tensor& tensor, std::int64_t bytes);

}  // namespace ophis
