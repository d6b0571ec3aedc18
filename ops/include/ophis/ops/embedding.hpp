// Rows of a table by number: tokens to vectors.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[i..., :] = weight[ids[i...], :], rounded to the dtype of out.
struct EmbeddingArgs {
  Tensor ids;     ///< (tokens...) int64 or int32, one to five axes of any strides, e.g. (batch, seqlen)
  Tensor weight;  ///< (vocab, dim) any compute dtype, any strides; or, with weight_scale, codes as those of
                  ///< quantized_linear, (vocab, dim * bits / 8) uint8
  Tensor weight_scale;  ///< (vocab, groups) any compute dtype, or none
  Tensor weight_shift;  ///< (vocab, groups) float32, or none

  Tensor out;  ///< (tokens..., dim) any compute dtype, any strides; of codes: the last axis dense
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented and, on the CPU, on an id outside
/// [0, vocab).
void embedding(ExecContext& exec, const EmbeddingArgs& args);

}  // namespace ophis
