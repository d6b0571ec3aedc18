// What describes a model: the parameters of a block, and of a language model made of blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ophis/core/dtype.hpp"
#include "ophis/models/quantization.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis {

/// How dt_proj.weight of Mamba-1 starts: uniform in +-s or constant s, with s = dt_scale / sqrt(dt_rank).
enum class DtInit { random, constant };

/// Initial step sizes: softplus(dt_bias) is log-uniform in [min, max], and at least floor. Mamba,
/// section 3.6.
struct TimeStepConfig {
  double min = 0.001;            ///< smallest step size
  double max = 0.1;              ///< largest step size
  double floor = 1e-4;           ///< step sizes below it are raised to it
  double scale = 1.0;            ///< Mamba-1 only
  DtInit init = DtInit::random;  ///< Mamba-1 only
};

/// A Mamba block (arXiv:2312.00752), with mamba_ssm's names; in comments Hugging Face's.
struct MambaConfig {
  std::int64_t d_model = 768;                ///< hidden_size
  std::int64_t d_state = 16;                 ///< state_size
  std::int64_t d_conv = 4;                   ///< conv_kernel
  std::int64_t d_inner = 1536;               ///< intermediate_size, expand * d_model
  std::int64_t dt_rank = 48;                 ///< time_step_rank; "auto" is ceil(d_model / 16)
  bool bias = false;                         ///< use_bias: biases of in_proj and out_proj
  bool conv_bias = true;                     ///< use_conv_bias
  Activation activation = Activation::silu;  ///< hidden_act, after the convolution; the gate is always SiLU
  TimeStepConfig time_step;                  ///< how dt_bias is drawn

  /// Channels of the short convolution.
  std::int64_t conv_dim() const { return d_inner; }
};

/// A Mamba-2 block (arXiv:2405.21060), with mamba_ssm's names; in comments Hugging Face's.
struct Mamba2Config {
  std::int64_t d_model = 768;     ///< hidden_size
  std::int64_t d_state = 128;     ///< state_size
  std::int64_t d_conv = 4;        ///< conv_kernel
  std::int64_t d_inner = 1536;    ///< expand * hidden_size = nheads * headdim
  std::int64_t headdim = 64;      ///< head_dim
  std::int64_t nheads = 24;       ///< num_heads
  std::int64_t ngroups = 1;       ///< n_groups
  std::int64_t chunk_size = 256;  ///< of ssd_scan
  bool bias = false;              ///< use_bias
  bool conv_bias = true;          ///< use_conv_bias
  bool rmsnorm = true;            ///< gated RMSNorm before out_proj; without it the scan's output is gated
  bool norm_before_gate = false;  ///< of the gated norm, as in RmsNormArgs
  bool D_has_hdim = false;        ///< D is (nheads * headdim) instead of (nheads)
  double dt_min = 0.0;            ///< time_step_limit[0]: bounds of dt after softplus
  double dt_max = std::numeric_limits<double>::infinity();  ///< time_step_limit[1]
  Activation activation = Activation::silu;                 ///< hidden_act, after the convolution
  double A_init_min = 1.0;                                  ///< A starts uniform in -[A_init_min, A_init_max]
  double A_init_max = 16.0;                                 ///< largest initial -A
  TimeStepConfig time_step;                                 ///< how dt_bias is drawn

  /// Channels of the short convolution.
  std::int64_t conv_dim() const { return d_inner + 2 * ngroups * d_state; }
};

/// The kind of a model's blocks, and their configuration.
using MixerConfig = std::variant<MambaConfig, Mamba2Config>;

/// Embedding, n_layer times (norm, mixer, residual add), final norm, head.
struct LanguageModelConfig {
  std::string model_type = "mamba";               ///< "mamba" or "mamba2"
  MixerConfig mixer;                              ///< of every block
  std::int64_t vocab_size = 50280;                ///< rows of the embedding, padding included
  std::int64_t d_model = 768;                     ///< width of the residual stream
  std::int64_t n_layer = 24;                      ///< number of blocks
  double norm_epsilon = 1e-5;                     ///< layer_norm_epsilon
  bool rms_norm = true;                           ///< else LayerNorm with bias
  bool residual_in_fp32 = true;                   ///< else the residual has the dtype of the activations
  bool tie_embeddings = true;                     ///< the head's weight is the embedding's
  double initializer_range = 0.02;                ///< standard deviation of the embedding's initial values
  bool rescale_prenorm_residual = false;          ///< initial out_proj weights are divided by sqrt(n_layer)
  std::int64_t bos_token_id = 0;                  ///< an empty prompt begins with it
  std::int64_t pad_token_id = 0;                  ///< fills shorter sequences of a batch
  std::vector<std::int64_t> eos_token_ids = {0};  ///< each of them ends a text
  Quantization quantize_on_load;  ///< what a torchao configuration wants quantized of dense weights
  DType dtype = DType::float32;   ///< what the checkpoint names as its dtype
  std::vector<std::string>
      unread_parameters;  ///< names in the file that Ophis does not know; they change nothing

  /// Number of parameters of a model of this configuration, the tied head not counted twice.
  std::int64_t parameter_count() const;
};

/// Reads a configuration: Hugging Face's (model_type "mamba" or "mamba2") or mamba_ssm's (d_model, n_layer,
/// ssm_cfg). Parameters that change nothing here (use_cache, use_mambapy, fused_add_norm, ...) are passed
/// over. Throws Error(corrupt_data) on malformed values and Error(unsupported) that names a model type or
/// parameter which cannot be honoured; unknown parameters are an error in mamba_ssm's ssm_cfg, and listed in
/// unread_parameters elsewhere. `origin` names the source in errors.
LanguageModelConfig parse_model_config(std::string_view json_text, std::string_view origin);

/// The configuration of a model: of a folder with config.json, or of a GGUF file (the file itself, or a
/// folder whose weights are one).
LanguageModelConfig load_model_config(const std::filesystem::path& model);

/// The configuration of a published model by name: mamba-130m, mamba-370m, mamba-790m, mamba-1.4b,
/// mamba-2.8b, mamba2-130m, mamba2-370m, mamba2-780m, mamba2-1.3b, mamba2-2.7b, codestral-7b. Throws
/// Error(invalid_argument) that lists them on any other.
LanguageModelConfig published_model_config(std::string_view name);

/// The names that published_model_config takes.
std::vector<std::string> published_model_names();

}  // namespace ophis
