// Weights as small integers: which ones, in which format, and a folder of them made from another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "ophis/core/buffer.hpp"
#include "ophis/models/checkpoint.hpp"

namespace ophis {

/// How a weight (out, in) is stored: codes with a scale for each group of a row.
struct WeightFormat {
  int bits = 4;                   ///< 8 or 4
  std::int64_t group_size = 128;  ///< inputs that share a scale, a multiple of 8; 0: the whole row
  bool symmetric = true;          ///< codes lie around zero; else each group has a zero point too
};

/// What of a model is quantized: the projections in_proj and out_proj of all blocks, and the tables, that is
/// the head and, where it is the same table, the embedding. What is left out keeps the model's dtype.
struct Quantization {
  std::optional<WeightFormat> projections;  ///< in_proj and out_proj
  std::optional<WeightFormat> tables;       ///< head and embedding

  /// Whether anything is.
  explicit operator bool() const { return projections || tables; }
};

/// "int8" or "int4", in groups of `group_size`. Throws Error(invalid_argument) on anything else.
WeightFormat parse_weight_format(std::string_view name, std::int64_t group_size = 128, bool symmetric = true);

/// A quantized matrix, on the host: w[o, i] = scale[o, g] * (code[o, i] - zero_point[o, g]).
struct QuantizedMatrix {
  OwnedTensor codes;       ///< (out, in * bits / 8) uint8; of two codes in a byte the first is the low half
  OwnedTensor scale;       ///< (out, groups) bfloat16
  OwnedTensor zero_point;  ///< (out, groups) uint8; none where symmetric: it is 2^(bits - 1)
  WeightFormat format;     ///< with group_size resolved
};

/// What is known of the inputs of a weight: x^T x summed over many inputs x, of which blocks along the
/// diagonal are kept.
struct InputStatistics {
  static constexpr std::int64_t block = 128;  ///< inputs of a block
  OwnedTensor products;  ///< (blocks, block, block) float32; the last block may be partly unused
};

/// Quantizes a host matrix (out, in) of any compute dtype. The scales of groups of 4-bit codes are searched
/// for the least squared error. With statistics, errors count by the inputs that they meet, and the error of
/// a code is made up for by those that follow it in the same block (GPTQ, arXiv:2210.17323, with a
/// block-diagonal Hessian). Throws Error(invalid_argument) where the format does not fit the matrix.
QuantizedMatrix quantize(const Tensor& weight, const WeightFormat& format,
                         const InputStatistics* statistics = nullptr);

struct QuantizeOptions {
  Quantization what;
  std::string_view calibration_text;  ///< UTF-8, for statistics of the inputs; empty: each weight by itself
  std::int64_t calibration_tokens = 8192;  ///< at most so many of it are used
  ProgressFn progress;                     ///< told the bytes of weights done, if given
};

/// Reads the model `from` (a folder or a GGUF file) and writes it with quantized weights to the folder `to`,
/// which must not exist: config.json with a quantization_config, model.safetensors in the layout of
/// docs/quantization.md, and the other files beside them as they are, or the tokenizer of a GGUF file. The
/// folder appears whole or not at all.
void quantize_model(const std::filesystem::path& from, const std::filesystem::path& to,
                    const QuantizeOptions& options);

}  // namespace ophis
