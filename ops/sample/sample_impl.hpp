// The list of implementations, defined in backends/impls, and the reference.
#pragma once

#include <span>

#include "ophis/ops/sample.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<SampleArgs>> sample_impls();

/// The definition, in double, on sorted tokens; on host tensors of any float dtype.
void sample_reference(const SampleArgs& args);

}  // namespace ophis
