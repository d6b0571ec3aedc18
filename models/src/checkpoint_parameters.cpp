#include "models/src/checkpoint_parameters.hpp"

#include "models/src/gguf/gguf_parameters.hpp"

namespace ophis {

CheckpointParameters parameters_of(const std::shared_ptr<const Checkpoint>& checkpoint) {
  if (checkpoint->format() == CheckpointFormat::gguf) {
    const auto parameters = std::make_shared<GgufParameters>(checkpoint);
    return {parameters->names(), [parameters](const std::string& name) { return parameters->find(name); }};
  }
  return {checkpoint->names(), [checkpoint](const std::string& name) {
            return checkpoint->contains(name) ? Parameter{checkpoint->tensor(name), checkpoint} : Parameter{};
          }};
}

}  // namespace ophis
