"""The operations, on arrays of numpy, torch tensors, and arrays of any library that speaks DLPack, without copies.

Activations are float32, bfloat16 or float16 with any strides; arithmetic and states are float32. Outputs are arrays of the
first input's library on its device, unless the caller gives some to write to. Wrong shapes, dtypes and values raise
ophis.errors.InvalidArgumentError, which is a ValueError. On a GPU calls return before their work is done.
"""

from ophis.ops._activation import activation
from ophis.ops._argmax import argmax
from ophis.ops._causal_conv1d import causal_conv1d, causal_conv1d_update
from ophis.ops._cross_entropy import cross_entropy
from ophis.ops._cumsum import cumsum
from ophis.ops._embedding import embedding
from ophis.ops._layer_norm import layer_norm
from ophis.ops._linear import linear
from ophis.ops._mask_positions import mask_positions
from ophis.ops._norm_linear import norm_linear
from ophis.ops._quantized_linear import quantized_linear
from ophis.ops._rms_norm import rms_norm
from ophis.ops._sample import sample
from ophis.ops._selective_scan import selective_scan, selective_state_update
from ophis.ops._softmax import softmax
from ophis.ops._ssd_scan import ssd_scan, ssd_state_update

__all__ = ["activation", "argmax", "causal_conv1d", "causal_conv1d_update", "cross_entropy", "cumsum", "embedding",
           "layer_norm", "linear", "mask_positions", "norm_linear", "quantized_linear", "rms_norm", "sample",
           "selective_scan", "selective_state_update", "softmax", "ssd_scan", "ssd_state_update"]
