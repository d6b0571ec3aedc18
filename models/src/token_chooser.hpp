// The next token of each sequence from its logits, on the device.
#pragma once

#include <span>

#include "ophis/core/buffer.hpp"
#include "ophis/models/generation.hpp"
#include "ophis/ops/sample.hpp"

namespace ophis {

/// What a sequence brings along.
struct ChooserInput {
  std::int64_t sequence = 0;    ///< which one it is of those with one seed
  std::int64_t position = 0;    ///< of the next token in the text
  std::vector<TokenIds> known;  ///< what a repetition penalty knows before the first token
};

/// Holds the settings of sequences, and what they have drawn so far, in memory of the device, so that a Graph
/// can repeat choose().
class TokenChooser {
 public:
  TokenChooser(ExecContext& exec, const SamplingOptions& options, std::int64_t vocab,
               std::span<const ChooserInput> sequences);

  /// Queues next (batch) int64 = the tokens chosen from logits (batch, vocab), which then are part of the
  /// text.
  void choose(ExecContext& exec, const Tensor& logits, const Tensor& next) const;

 private:
  bool m_is_argmax;
  std::vector<OwnedTensor> m_memory;  // of the tensors in m_args
  SampleArgs m_args;
};

}  // namespace ophis
