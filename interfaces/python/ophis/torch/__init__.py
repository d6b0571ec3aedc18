"""The functions and modules of mamba_ssm and causal_conv1d for PyTorch, on CPUs and CUDA.

Names, arguments, layouts, defaults and results are theirs. The operations are custom ops of torch (`torch.ops.ophis`), which
torch.compile and torch.export take as they are; they are differentiable, by plain torch for now. `install()` makes
transformers, and code written for mamba_ssm and causal_conv1d, use them.
"""

from ophis.torch._causal_conv1d import causal_conv1d_fn, causal_conv1d_update, causal_conv1d_varlen_states
from ophis.torch._generation import GenerationMixin, InferenceParams
from ophis.torch._install import install, uninstall
from ophis.torch._language_model import MambaConfig, MambaLMHeadModel
from ophis.torch._mamba import Mamba
from ophis.torch._mamba2 import Mamba2
from ophis.torch._norm import (LayerNormGated, RMSNorm, RMSNormGated, layer_norm_fn, layer_norm_linear_fn, layernorm_fn,
                               rms_norm_fn, rmsnorm_fn)
from ophis.torch._selective_scan import mamba_inner_fn, selective_scan_fn
from ophis.torch._selective_state_update import selective_state_update
from ophis.torch._ssd import mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined

__all__ = ["GenerationMixin", "InferenceParams", "LayerNormGated", "Mamba", "Mamba2", "MambaConfig", "MambaLMHeadModel",
           "RMSNorm", "RMSNormGated", "causal_conv1d_fn", "causal_conv1d_update", "causal_conv1d_varlen_states", "install",
           "layer_norm_fn", "layer_norm_linear_fn", "layernorm_fn", "mamba_chunk_scan_combined", "mamba_inner_fn",
           "mamba_split_conv1d_scan_combined", "rms_norm_fn", "rmsnorm_fn", "selective_scan_fn", "selective_state_update",
           "uninstall"]
