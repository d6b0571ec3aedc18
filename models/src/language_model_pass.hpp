// One forward call of a LanguageModel, taken apart.
#pragma once

#include "ophis/models/language_model.hpp"
#include "ophis/ops/embedding.hpp"
#include "ophis/ops/layer_norm.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/rms_norm.hpp"

namespace ophis {

class LanguageModel::Pass {
 public:
  /// Throws Error(invalid_argument) on inputs that contradict each other.
  Pass(const LanguageModel& model, ExecContext& exec, const ForwardInput& input);

  ForwardOutput run();

  /// The residual stream: for each layer i, normed = norm(x + residual); mix(i, out) is to set out =
  /// block(normed), which is the x of the next. residual_of(i) is where x + residual goes before layer i
  /// (nowhere: an empty tensor, after the last block); `first` is the embeddings, `mixed` memory for the
  /// outputs of the blocks. At the end `normed` holds the output of the final norm.
  template <class ResidualOf, class Mix>
  static void run_layers(const LanguageModel& model, ExecContext& exec, const Tensor& first,
                         const Tensor& mixed, const Tensor& normed, ResidualOf residual_of, Mix mix) {
    Tensor x = first, residual;
    for (std::size_t i = 0; i < model.m_layers.size(); ++i) {
      const Layer& layer = model.m_layers[i];
      const Tensor sum = residual_of(i);
      normalise(model.m_config, exec, layer, x, residual, sum, normed);
      if (layer.block) mix(i, mixed);
      x = mixed;
      residual = sum;
    }
  }

  /// A layer's norm of x + residual, the sum of which goes to `sum` if that is given.
  static void normalise(const LanguageModelConfig& config, ExecContext& exec, const Layer& layer,
                        const Tensor& x, const Tensor& residual, const Tensor& sum, const Tensor& out);

 private:
  void check() const;
  /// The positions whose logits are wanted, rising or not; empty: all.
  std::vector<std::int64_t> wanted_positions() const;
  /// The embeddings of positions [begin, end).
  Tensor embed(std::int64_t begin, std::int64_t end);
  void run_piece(std::int64_t begin, std::int64_t end, ModelCache* cache);
  void add_logits(const Tensor& normed, std::int64_t begin, std::int64_t end);
  void add_losses(const Tensor& normed, std::int64_t begin, std::int64_t end);
  /// The mean of the losses whose labels count.
  double mean_loss() const;

  const LanguageModel& m_model;
  ExecContext& m_exec;
  const ForwardInput& m_input;
  std::int64_t m_batch = 0, m_seqlen = 0;
  std::vector<std::int64_t> m_wanted;
  ForwardOutput m_output;
  Tensor m_input_ids, m_inputs_embeds, m_attention_mask;  // on the device
  Tensor m_labels, m_losses;  // (batch, seqlen) int64 and (batch, seqlen - 1) float32, on the device
};

}  // namespace ophis
