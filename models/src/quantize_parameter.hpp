// Quantizing a weight of a checkpoint.
#pragma once

#include "ophis/models/parameters.hpp"

namespace ophis {

/// As quantize() of a tensor (ophis/models/quantization.hpp). What was read of a file is released.
QuantizedMatrix quantize(const Parameter& weight, const WeightFormat& format,
                         const InputStatistics* statistics = nullptr);

}  // namespace ophis
