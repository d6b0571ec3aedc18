#include "bench/ops/cases.hpp"

#include <iterator>

namespace ophis::bench {

Cases all_cases() {
  Cases all;
  for (Cases (*const cases_of_op)() :
       {causal_conv1d_cases, selective_scan_cases, ssd_scan_cases, linear_cases, norm_linear_cases,
        quantized_linear_cases, rms_norm_cases, layer_norm_cases, embedding_cases, activation_cases,
        softmax_cases, cross_entropy_cases, argmax_cases, sample_cases, mask_positions_cases, cumsum_cases,
        associative_scan_cases}) {
    Cases cases = cases_of_op();
    std::move(cases.begin(), cases.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace ophis::bench
