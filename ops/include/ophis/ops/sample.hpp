// Draws the next token of each sequence from its logits: temperature, penalties, top-k, top-p, min-p.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/core/tensor.hpp"

namespace ophis {

/// For each row, in this order (that of transformers' logits processors):
///
///     x[v] = logits[v], divided by repetition_penalty if it is positive, else multiplied by it,
///            where prompt_counts[v] + counts[v] > 0                          (CTRL, arXiv:1909.05858)
///     x[v] = x[v] - presence_penalty [counts[v] > 0] - frequency_penalty counts[v]
///     p[v] = exp((x[v] - max x) / temperature)
///     top-k keeps the top_k tokens of largest x;
///     top-p keeps those before which, by falling x, lies less than top_p of the sum of p that is left;
///     min-p keeps those with p[v] >= min_p;
///     out  = argmax p[v] / E[v] over what is kept                               (exponential race)
///
/// which draws v with probability p[v] / sum p. Of equal x the lower token comes first. A temperature of 0
/// takes the largest x, as argmax does. So does a row whose largest x is not finite; NaN counts as larger
/// than every number.
///
/// E[v] is exponentially distributed: -log(1 - u) with u = (word + 1/2) / 2^32 and word the random word v mod
/// 4 of philox({v / 4, sequence, position mod 2^32, position / 2^32}, seed). A row's token thus depends on
/// nothing but the row and its settings. The comparisons of top-p are between integer sums of p (in units of
/// 2^-40), so that no order of summation shows in the result.
///
/// T is one of float32, bfloat16, float16. Any strides. Of the settings none may be given.
struct SampleArgs {
  Tensor logits;  ///< (batch, vocab) T, 1 <= vocab <= 2^22

  Tensor temperature;         ///< (batch) float32, >= 0, or none: 1
  Tensor top_k;               ///< (batch) int64, or none: 0, which keeps all
  Tensor top_p;               ///< (batch) float32 in (0, 1], or none: 1, which keeps all
  Tensor min_p;               ///< (batch) float32 in [0, 1], or none: 0, which keeps all
  Tensor repetition_penalty;  ///< (batch) float32, > 0, or none: 1; needs prompt_counts or counts
  Tensor presence_penalty;    ///< (batch) float32, or none: 0; needs counts
  Tensor frequency_penalty;   ///< (batch) float32, or none: 0; needs counts
  Tensor prompt_counts;       ///< (batch, vocab) int32, or none: how often a token is in the prompt

  Tensor seed;      ///< (batch) int64, or none: 0; its bits are the generator's key
  Tensor sequence;  ///< (batch) int64, or none: 0; mod 2^32, one of the sequences drawn with one seed
  Tensor position;  ///< (batch) int64, or none: 0; grows by 1
  Tensor counts;    ///< (batch, vocab) int32, or none: how often a token was drawn; that of `out` grows by 1

  Tensor out;  ///< (batch) int64
};

/// Throws Error(invalid_argument) on shapes or dtypes other than documented; on the CPU also on settings that
/// are out of range, which elsewhere give some token of the vocabulary.
void sample(ExecContext& exec, const SampleArgs& args);

}  // namespace ophis
