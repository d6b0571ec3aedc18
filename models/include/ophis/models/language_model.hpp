// A language model: embedding, blocks, head.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ophis/core/exec_context.hpp"
#include "ophis/models/block.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/config.hpp"
#include "ophis/models/parameters.hpp"

namespace ophis {

/// The states of all blocks: what generation carries from one call to the next.
class ModelCache {
 public:
  /// LanguageModel::make_cache makes one; `layers` are the blocks' states for `batch` sequences.
  ModelCache(std::vector<BlockState> layers, std::int64_t batch)
      : m_layers(std::move(layers)), m_batch(batch) {}

  /// The number of sequences.
  std::int64_t batch() const noexcept { return m_batch; }
  /// Positions seen since the start or the last reset.
  std::int64_t seqlen() const noexcept { return m_seqlen; }
  /// The number of blocks.
  std::int64_t layers() const noexcept { return static_cast<std::int64_t>(m_layers.size()); }
  /// The state of one block, to read or to change.
  const BlockState& layer(std::int64_t i) const { return m_layers[static_cast<std::size_t>(i)]; }
  /// Bytes of all states.
  std::size_t bytes() const noexcept;
  /// Forgets all positions.
  void reset(ExecContext& exec);
  /// Takes over the states of a cache of the same shape, so that one prompt may be continued in several ways.
  void copy_from(ExecContext& exec, const ModelCache& other);
  /// Sequence i takes over the states of sequence rows[i] of a cache of the same kind (not of itself), so
  /// that each may be continued in several ways. The cache has as many sequences as there are rows.
  void gather_from(ExecContext& exec, const ModelCache& other, std::span<const std::int64_t> rows);
  /// For states that were set, or advanced by a recorded Graph, which does not count.
  void set_seqlen(std::int64_t seqlen) noexcept { m_seqlen = seqlen; }

 private:
  friend class LanguageModel;
  std::vector<BlockState> m_layers;
  std::int64_t m_batch;
  std::int64_t m_seqlen = 0;
};

/// One call of a model. Either input_ids or inputs_embeds is given. The tensors are on the CPU, or dense on
/// the model's device.
struct ForwardInput {
  Tensor input_ids;       ///< (batch, seqlen) int64 or int32
  Tensor inputs_embeds;   ///< (batch, seqlen, d_model), any compute dtype
  Tensor attention_mask;  ///< (batch, seqlen) int64 or int32, or none: 0 marks left padding, 1 the rest
  Tensor labels;  ///< (batch, seqlen) int64, or none: the loss of logits[:, l] against labels[:, l + 1]; -100
                  ///< is passed over
  ModelCache* cache = nullptr;        ///< go on from these states, and advance them
  std::int64_t logits_to_keep = 0;    ///< logits of the last so many positions; 0: of all
  Tensor logits_positions;            ///< (kept) int64, or none: logits of these positions instead
  bool output_hidden_states = false;  ///< fill ForwardOutput::hidden_states
};

/// Its tensors are on the model's device (copy_to brings them to the host), and ready.
struct ForwardOutput {
  OwnedTensor logits;  ///< (batch, kept, vocab_size) float32
  /// n_layer + 1 of (batch, seqlen, d_model), as transformers returns them: the residual after each block
  /// (float32 with residual_in_fp32, else of the model's dtype), then the output of the final norm (the
  /// model's dtype).
  std::vector<OwnedTensor> hidden_states;
  std::optional<double> loss;  ///< mean over the labels that count, in nats; with labels
};

struct LoadOptions {
  std::optional<DType> dtype = {};  ///< of weights and activations; none: as the checkpoint says
  Device device = {};               ///< where the model computes
  ProgressFn progress = {};         ///< told the bytes read so far, if given
  Quantization quantization = {};   ///< of weights that the checkpoint holds dense, as they are read
};

/// Mamba and Mamba-2 language models. The contexts given to a model are on its device. Immutable after
/// construction: one model may serve several contexts at once.
class LanguageModel {
 public:
  /// Reads config.json and the weights of a folder, in Hugging Face's or mamba_ssm's layout, or a GGUF file
  /// (named itself, or alone in the folder). Throws Error that names the file, parameter or tensor that is
  /// wrong.
  static LanguageModel load(const std::filesystem::path& folder, const LoadOptions& options = {});
  /// Of parameters named as in a checkpoint, of either layout. Those that are as the model wants them, dense,
  /// of its dtype and on the device of the source's placement, are not copied; the large ones (the tables and
  /// the weights of projections) may be on a device already, the others are on the host. Throws Error that
  /// names the parameter that is wrong.
  static LanguageModel from_parameters(const LanguageModelConfig& config, const ParameterSource& source,
                                       DType dtype);
  /// Initial parameters drawn as the papers and the configuration say, equal for equal seeds, and
  /// quantized if wanted.
  static LanguageModel random(const LanguageModelConfig& config, DType dtype, std::uint64_t seed,
                              Device device = Device::cpu(), const Quantization& quantization = {});

  /// What the model is.
  const LanguageModelConfig& config() const noexcept { return m_config; }
  /// Of weights and activations.
  DType dtype() const noexcept { return m_dtype; }
  /// Where the weights are.
  Device device() const noexcept { return m_device; }
  /// Bytes of the parameters that a step reads: of all but an embedding that is not the head as well.
  std::size_t step_bytes() const;

  /// States of zeros for `batch` sequences. `state_dtype`, of the blocks' recurrent states, is float32 or the
  /// model's dtype: then a step moves half as much of them, and they are rounded after each.
  ModelCache make_cache(std::int64_t batch, DType state_dtype = DType::float32) const;

  /// All positions at once. Sequences longer than `max_positions_per_pass` / batch are computed in pieces,
  /// the states carried over, so that activations need memory for one piece only.
  ForwardOutput forward(ExecContext& exec, const ForwardInput& input) const;

  /// The next position of every sequence: `ids` (batch) int64, `logits` (batch, vocab_size) float32, both on
  /// the model's device. Advances `cache`. On a GPU it returns before the work is done.
  void step(ExecContext& exec, const Tensor& ids, ModelCache& cache, const Tensor& logits) const;

  /// Positions of all sequences that forward computes together.
  static constexpr std::int64_t max_positions_per_pass = 4096;

 private:
  /// A norm and the block behind it; the last layer has no block.
  struct Layer {
    Parameter norm, norm_bias;
    std::unique_ptr<Block> block;
  };
  class Pass;

  LanguageModel(const LanguageModelConfig& config, DType dtype, Device device)
      : m_config(config), m_dtype(dtype), m_device(device) {}
  void add_layer(const ParameterSource& source, std::unique_ptr<Block> block);
  void require_own_kind(const ModelCache& cache) const;
  void set_embedding(Weight embedding, Weight head);

  LanguageModelConfig m_config;
  DType m_dtype;
  Device m_device;
  Weight m_embedding;           // (vocab_size, d_model)
  Weight m_head;                // (vocab_size, d_model); the embedding's when tied
  std::vector<Layer> m_layers;  // n_layer of them, and the final norm
};

}  // namespace ophis
