// The parameters of a checkpoint of any format, as models ask for them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ophis/models/checkpoint.hpp"
#include "ophis/models/parameters.hpp"

namespace ophis {

struct CheckpointParameters {
  std::vector<std::string> names;  ///< as in Hugging Face's layout or mamba_ssm's
  ParameterSource::Find find;      ///< keeps the checkpoint
};

/// The values are not copied where that can be: the pages of a tensor that nobody holds any longer, because
/// it was converted or quantized, are given back to the system.
CheckpointParameters parameters_of(const std::shared_ptr<const Checkpoint>& checkpoint);

/// A tensor of the checkpoint, where it is mapped.
Parameter mapped_parameter(const std::shared_ptr<const Checkpoint>& checkpoint, const std::string& name);

}  // namespace ophis
