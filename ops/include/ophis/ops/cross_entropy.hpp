// The loss of a language model: the negative log likelihood of labels under softmax(logits).
#pragma once

#include <cstdint>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// losses[i...] = -log softmax(logits[i..., :])[labels[i...]], and 0 where the label is ignore_index.
///
/// T is one of float32, bfloat16, float16; arithmetic is float32. (rows..., vocab) is one to six axes of any
/// strides, so that logits and labels may be the shifted slices of one sequence.
struct CrossEntropyArgs {
  Tensor logits;                     ///< (rows..., vocab) T, vocab >= 1
  Tensor labels;                     ///< (rows...) int64
  std::int64_t ignore_index = -100;  ///< rows of this label have no loss

  Tensor losses;  ///< (rows...) float32, in nats
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented and, on the CPU, on a label
/// outside [0, vocab) that is not ignore_index.
void cross_entropy(ExecContext& exec, const CrossEntropyArgs& args);

}  // namespace ophis
