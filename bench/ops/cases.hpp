// The benchmarks of each op: <op>_cases() is in bench/ops/<op>_bench.cpp, the list of them in cases.cpp.
#pragma once

#include "bench/support/case.hpp"

namespace ophis::bench {

Cases activation_cases();
Cases argmax_cases();
Cases associative_scan_cases();
Cases causal_conv1d_cases();
Cases cross_entropy_cases();
Cases cumsum_cases();
Cases embedding_cases();
Cases layer_norm_cases();
Cases linear_cases();
Cases mask_positions_cases();
Cases norm_linear_cases();
Cases quantized_linear_cases();
Cases rms_norm_cases();
Cases sample_cases();
Cases selective_scan_cases();
Cases softmax_cases();
Cases ssd_scan_cases();

/// All of them, the cases of one op side by side.
Cases all_cases();

}  // namespace ophis::bench
