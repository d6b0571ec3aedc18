// The parameters of a GGUF file by the names that Hugging Face's checkpoints have.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/src/gguf/block_formats.hpp"
#include "ophis/models/checkpoint.hpp"
#include "ophis/models/parameters.hpp"

namespace ophis {

/// The tensors of a checkpoint of format gguf, with what llama.cpp's converter does to them undone. Dense
/// ones are views of the file. Not for several threads at once.
class GgufParameters {
 public:
  explicit GgufParameters(std::shared_ptr<const Checkpoint> checkpoint);

  /// Of all tensors that have one in Hugging Face's layout, with its shapes.
  std::vector<std::string> names() const;

  /// Also known by name: of a quantized matrix NAME.weight, which is dequantized to float32, its
  /// NAME.weight_packed, NAME.weight_scale and, if there is one, NAME.weight_shift, as require_weight takes
  /// them; and mixer.A, the file's own, of which mixer.A_log is made.
  /// An optional parameter that is not there is empty; for others Error(not_found) names the tensor that is
  /// missing in the file. Throws Error(unsupported) for types that can neither be used nor unpacked.
  Parameter find(const std::string& name);

 private:
  using Unpacked = std::shared_ptr<const gguf::UnpackedMatrix>;

  Parameter whole(const std::string& tensor);
  Unpacked unpacked(const std::string& tensor);

  std::shared_ptr<const Checkpoint> m_checkpoint;
  std::string m_unpacked_name;  ///< the tensor that was unpacked last; its parts are asked for one by one
  Unpacked m_unpacked;
};

}  // namespace ophis
