"""Norms with a residual and with a gate, as mamba_ssm.ops.triton.layer_norm and .layernorm_gated have them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ophis import _core
from ophis.torch import _formulas
from ophis.torch._library import call, cast, common_dtype, define, gradients_by


def _kernel(x, weight, bias, residual, z, eps, is_rms_norm, norm_before_gate, group_size, residual_dtype):
    dtype = common_dtype(x)
    if residual_dtype not in (None, dtype, torch.float32):
        raise RuntimeError(f"the residual is {residual_dtype}, but must be float32 or {dtype}, as x is")
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    residual_out = _sum_like(x, residual_dtype)
    if residual is not None and residual.dtype not in (dtype, torch.float32):
        residual = residual.float()
    arguments = {"x": x, "weight": weight, "bias": bias, "residual": residual, "eps": eps,
                 "residual_out": None if residual_dtype is None else residual_out}
    if is_rms_norm:
        call(_core.ops.rms_norm, y, z=cast(z, dtype), norm_before_gate=norm_before_gate, group_size=group_size, **arguments)
    else:
        call(_core.ops.layer_norm, y, **arguments)
    return y, residual_out


def _sum_like(x, residual_dtype):
    return x.new_empty(0) if residual_dtype is None else torch.empty(x.shape, dtype=residual_dtype, device=x.device)


def _fake(x, weight, bias, residual, z, eps, is_rms_norm, norm_before_gate, group_size, residual_dtype):
    return x.new_empty(x.shape), _sum_like(x, residual_dtype)


# The second output is x + residual in residual_dtype, or empty if that is None.
_norm = define(
    "norm(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, Tensor? z, float eps, bool is_rms_norm, "
    "bool norm_before_gate, int group_size, ScalarType? residual_dtype) -> (Tensor, Tensor)",
    _kernel, _fake, *gradients_by(_formulas.norm, num_outputs=2))


def layer_norm_fn(x, weight, bias, residual=None, x1=None, weight1=None, bias1=None, eps=1e-6, dropout_p=0.0, rowscale=None,
                  prenorm=False, residual_in_fp32=False, is_rms_norm=False, return_dropout_mask=False):
    """norm(dropout(x * rowscale) + dropout(x1) + residual) * weight + bias, and the same with weight1 and bias1.

    x, x1, residual: (..., dim). Returns y; with weight1 also y1; with prenorm also the sum before the norm, in residual's
    dtype or, with residual_in_fp32, float32; with return_dropout_mask also the masks of x and x1, or None.
    """
    shape = x.shape
    assert residual is None or residual.shape == shape
    assert x1 is None or x1.shape == shape
    assert x1 is None or rowscale is None, "rowscale is not supported with parallel LayerNorm"
    residual_dtype = residual.dtype if residual is not None else torch.float32 if residual_in_fp32 else x.dtype
    dtype, masks = x.dtype, [None, None]
    if rowscale is not None or dropout_p > 0.0 or x1 is not None:
        parts = [x.float() if rowscale is None else x.float() * rowscale[..., None]] + ([] if x1 is None else [x1.float()])
        if dropout_p > 0.0:
            masks = [torch.rand(shape, device=x.device) > dropout_p for _ in parts] + [None] * (2 - len(parts))
            parts = [part * mask / (1.0 - dropout_p) for part, mask in zip(parts, masks)]
        total = sum(parts) if residual is None else sum(parts) + residual.float()
        norm = lambda w, b: (_norm(total, w, b, None, None, eps, is_rms_norm, True, 0, None)[0].to(dtype),  # noqa: E731
                             total.to(residual_dtype))
    else:
        kept = residual_dtype if prenorm else None
        norm = lambda w, b: _norm(x, w, b, residual, None, eps, is_rms_norm, True, 0, kept)  # noqa: E731
    y, before = norm(weight, bias)
    outputs = [y] if weight1 is None else [y, norm(weight1, bias1)[0]]
    if prenorm:
        outputs.append(before)
    if return_dropout_mask:
        outputs += masks
    return tuple(outputs) if len(outputs) > 1 else y


def rms_norm_fn(x, weight, bias, residual=None, x1=None, weight1=None, bias1=None, eps=1e-6, dropout_p=0.0, rowscale=None,
                prenorm=False, residual_in_fp32=False, return_dropout_mask=False):
    """layer_norm_fn with the root mean square instead of the standard deviation, and no mean."""
    return layer_norm_fn(x, weight, bias, residual, x1, weight1, bias1, eps, dropout_p, rowscale, prenorm, residual_in_fp32,
                         True, return_dropout_mask)


def layer_norm_linear_fn(x, norm_weight, norm_bias, linear_weight, linear_bias, residual=None, eps=1e-6, prenorm=False,
                         residual_in_fp32=False, is_rms_norm=False):
    """layer_norm_fn, and a linear layer behind it."""
    y, before = layer_norm_fn(x, norm_weight, norm_bias, residual, eps=eps, prenorm=True, residual_in_fp32=residual_in_fp32,
                              is_rms_norm=is_rms_norm)
    out = F.linear(y, linear_weight.to(y.dtype), None if linear_bias is None else linear_bias.to(y.dtype))
    return (out, before) if prenorm else out


class RMSNorm(nn.Module):
    """rms_norm_fn with its weight."""

    def __init__(self, hidden_size, eps=1e-5, dropout_p=0.0, device=None, dtype=None):
        super().__init__()
        self.eps = eps
        self.drop = nn.Dropout(dropout_p) if dropout_p > 0.0 else None
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.weight)

    def forward(self, x, residual=None, prenorm=False, residual_in_fp32=False):
        return rms_norm_fn(x, self.weight, self.bias, residual=residual, eps=self.eps,
                           dropout_p=self.drop.p if self.drop is not None and self.training else 0.0, prenorm=prenorm,
                           residual_in_fp32=residual_in_fp32)


def layernorm_fn(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True, is_rms_norm=False):
    """norm(x) * silu(z) with norm_before_gate, else norm(x * silu(z)); over groups of the last axis with group_size."""
    assert z is None or z.shape == x.shape
    if is_rms_norm:
        return _norm(x, weight, bias, None, z, eps, True, norm_before_gate, group_size or 0, None)[0]
    rows = x if z is None or norm_before_gate else x.float() * F.silu(z.float())
    groups = rows.unflatten(-1, (-1, group_size or x.shape[-1]))
    ones = torch.ones(groups.shape[-1], device=x.device)
    y = _norm(groups.float(), ones, None, None, None, eps, False, True, 0, None)[0].flatten(-2) * weight.float()
    if bias is not None:
        y = y + bias.float()
    if z is not None and norm_before_gate:
        y = y * F.silu(z.float())
    return y.to(x.dtype)


def rmsnorm_fn(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True):
    """layernorm_fn with the root mean square."""
    return layernorm_fn(x, weight, bias, z, eps, group_size, norm_before_gate, True)


class _GatedNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-5, group_size=None, norm_before_gate=True, device=None, dtype=None):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.group_size = group_size
        self.norm_before_gate = norm_before_gate

    def reset_parameters(self):
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x, z=None):
        """norm(x) * silu(z) with norm_before_gate, else norm(x * silu(z))."""
        return layernorm_fn(x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate, self.is_rms_norm)


class RMSNormGated(_GatedNorm):
    """RMSNorm of mamba_ssm.ops.triton.layernorm_gated."""

    is_rms_norm = True

    def __init__(self, hidden_size, eps=1e-5, group_size=None, norm_before_gate=True, device=None, dtype=None):
        super().__init__(hidden_size, eps, group_size, norm_before_gate, device, dtype)
        self.register_parameter("bias", None)
        self.reset_parameters()


class LayerNormGated(_GatedNorm):
    """LayerNorm of mamba_ssm.ops.triton.layernorm_gated."""

    is_rms_norm = False

    def __init__(self, hidden_size, eps=1e-5, group_size=None, norm_before_gate=True, device=None, dtype=None):
        super().__init__(hidden_size, eps, group_size, norm_before_gate, device, dtype)
        self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.reset_parameters()
