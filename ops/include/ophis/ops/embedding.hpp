// Rows of a table by number: tokens to vectors.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// out[i..., :] = weight[ids[i...], :], rounded to the dtype of out.
struct EmbeddingArgs {
  Tensor ids;     ///< (tokens...) int64 or int32, one to five axes of any strides, e.g. (batch, seqlen)
  Tensor weight;  ///< (vocab, dim) any compute dtype, any strides

  Tensor out;  ///< (tokens..., dim) any compute dtype, any strides
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented and, on the CPU, on an id outside
/// [0, vocab).
void embedding(ExecContext& exec, const EmbeddingArgs& args);

}  // namespace ophis
