# The ops, by name. Each has its folder ops/<op>, its list of implementations backends/impls/<op>_impls.cpp and its
# benchmark bench/ops/<op>_bench.cpp.
set(ophis_ops
  activation
  argmax
  causal_conv1d
  cross_entropy
  cumsum
  embedding
  layer_norm
  linear
  mask_positions
  norm_linear
  quantized_linear
  rms_norm
  sample
  selective_scan
  softmax
  ssd_scan
)
