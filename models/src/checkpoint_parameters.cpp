#include "models/src/checkpoint_parameters.hpp"

#include "models/src/gguf/gguf_parameters.hpp"

namespace ophis {

CheckpointParameters parameters_of(const std::shared_ptr<const Checkpoint>& checkpoint) {
  if (checkpoint->format() == CheckpointFormat::gguf) {
    const auto parameters = std::make_shared<GgufParameters>(checkpoint);
    return {parameters->names(), [parameters](const std::string& name) { return parameters->find(name); }};
  }
  return {checkpoint->names(), [checkpoint](const std::string& name) {
            return checkpoint->contains(name) ? mapped_parameter(checkpoint, name) : Parameter{};
          }};
}

Parameter mapped_parameter(const std::shared_ptr<const Checkpoint>& checkpoint, const std::string& name) {
  const auto release_all = [checkpoint, name](const Checkpoint*) { checkpoint->release(name); };
  return {checkpoint->tensor(name), std::shared_ptr<const void>(checkpoint.get(), release_all),
          [checkpoint](std::span<const std::byte> bytes) { checkpoint->release(bytes); }};
}

}  // namespace ophis
