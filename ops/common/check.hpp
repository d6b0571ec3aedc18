// The checks at an op's entrance.
#pragma once

#include <optional>
#include <string_view>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// Checks the tensors of one call of one op. Every function throws Error(invalid_argument) that names the op
/// and the tensor, what came and what was wanted. A tensor that is not given passes, except in require_given.
class ArgumentChecker {
 public:
  ArgumentChecker(const char* op, ExecContext& exec) : m_op(op), m_device(exec.device()) {}

  void given(const char* name, const Tensor& tensor) const {
    OPHIS_REQUIRE(tensor, m_op, ": ", name, " must be given");
  }
  void rank(const char* name, const Tensor& tensor, int wanted) const {
    OPHIS_REQUIRE(!tensor || tensor.rank() == wanted, m_op, ": ", name, " is ", tensor, ", but must have ",
                  wanted, " axes");
  }
  /// Also checks that the tensor is on the op's device.
  void shape(const char* name, const Tensor& tensor, const Dims& wanted) const {
    if (!tensor) return;
    OPHIS_REQUIRE(tensor.shape() == wanted, m_op, ": ", name, " has shape ", tensor.shape(),
                  ", but must have ", wanted);
    OPHIS_REQUIRE(tensor.device() == m_device, m_op, ": ", name, " is on device ", tensor.device(),
                  ", but the op runs on ", m_device);
  }
  void dtype(const char* name, const Tensor& tensor, DType wanted) const {
    OPHIS_REQUIRE(!tensor || tensor.dtype() == wanted, m_op, ": ", name, " is ", tensor.dtype(),
                  ", but must be ", wanted);
  }
  /// float32, bfloat16 or float16.
  void compute_dtype(const char* name, const Tensor& tensor) const {
    OPHIS_REQUIRE(!tensor || is_compute_dtype(tensor.dtype()), m_op, ": ", name, " is ", tensor.dtype(),
                  ", but must be float32, bfloat16 or float16");
  }
  /// A compute dtype, with one to six axes, the last of at least one element.
  void rows(const char* name, const Tensor& tensor) const {
    compute_dtype(name, tensor);
    OPHIS_REQUIRE(tensor.rank() >= 1 && tensor.extent(-1) >= 1, m_op, ": ", name, " is ", tensor,
                  ", but must have rows of at least one element");
  }
  /// `wanted` or float32.
  void dtype_or_float32(const char* name, const Tensor& tensor, DType wanted) const {
    if (wanted == DType::float32) return dtype(name, tensor, wanted);
    if (tensor && tensor.dtype() == DType::float32) return;
    OPHIS_REQUIRE(!tensor || tensor.dtype() == wanted, m_op, ": ", name, " is ", tensor.dtype(),
                  ", but must be ", wanted, " or float32");
  }
  /// A tensor of this shape and dtype.
  void activation(const char* name, const Tensor& tensor, const Dims& wanted_shape,
                  DType wanted_dtype) const {
    shape(name, tensor, wanted_shape);
    dtype(name, tensor, wanted_dtype);
  }
  /// A parameter of this shape, in any compute dtype.
  void parameter(const char* name, const Tensor& tensor, const Dims& wanted_shape) const {
    shape(name, tensor, wanted_shape);
    compute_dtype(name, tensor);
  }
  /// A state of this shape, in float32 or the activations' dtype.
  void state(const char* name, const Tensor& tensor, const Dims& wanted_shape, DType activations) const {
    shape(name, tensor, wanted_shape);
    dtype_or_float32(name, tensor, activations);
  }
  /// seq_idx (batch, seqlen) int32.
  void seq_idx(const Tensor& tensor, std::int64_t batch, std::int64_t seqlen) const {
    activation("seq_idx", tensor, {batch, seqlen}, DType::int32);
  }
  /// The number of sequences: `batch` without cu_seqlens (nseq + 1) int32; with it the batch must be 1. Its
  /// values are read only where the CPU can: they must rise from 0 to seqlen.
  std::int64_t sequences(const Tensor& cu_seqlens, std::int64_t batch, std::int64_t seqlen) const;

  /// int32 or int64 values in [0, end), or equal to `also`. They are read only where the CPU can.
  void indices(const char* name, const Tensor& tensor, std::int64_t end,
               std::optional<std::int64_t> also = {}) const;

  const char* op() const { return m_op; }

 private:
  const char* m_op;
  Device m_device;
};

/// The shape without its last axis.
inline Dims without_last(const Dims& shape) {
  return Dims(std::span<const std::int64_t>(shape.begin(), shape.end() - 1));
}

}  // namespace ophis
