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

CheckpointParameters parameters_of(const std::shared_ptr<const Checkpoint>& checkpoint);

}  // namespace ophis
