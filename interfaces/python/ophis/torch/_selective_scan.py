"""The selective scan of Mamba-1, as mamba_ssm.ops.selective_scan_interface has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ophis import _core
from ophis.torch import _formulas
from ophis.torch._causal_conv1d import causal_conv1d_fn
from ophis.torch._library import call, cast, common_dtype, define, empty_channels, gradients_by
from ophis.torch._norm import rms_norm_fn


def _kernel(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    dtype = common_dtype(u, delta, z, *(each for each in (B, C) if each.dim() == 4))
    per_step = lambda matrix: cast(matrix, dtype).permute(0, 3, 1, 2) if matrix.dim() == 4 else matrix  # noqa: E731
    along = lambda tensor: None if tensor is None else cast(tensor, dtype).transpose(1, 2)  # noqa: E731
    out = empty_channels(u, dtype)
    last_state = torch.empty(u.shape[0], *A.shape, dtype=torch.float32, device=u.device)
    call(_core.ops.selective_scan, along(out), u=along(u), delta=along(delta), A=A, B=per_step(B), C=per_step(C), D=D,
         z=along(z), delta_bias=delta_bias, delta_softplus=delta_softplus, final_states=last_state)
    return cast(out, u.dtype), last_state


def _fake(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    return empty_channels(u), u.new_empty(u.shape[0], *A.shape, dtype=torch.float32)


_selective_scan = define(
    "selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "bool delta_softplus) -> (Tensor, Tensor)",
    _kernel, _fake, *gradients_by(_formulas.selective_scan, num_outputs=1))


def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False):
    """The scan of ophis.ops.selective_scan in mamba_ssm's layout.

    u, delta, z: (batch, dim, seqlen). A: (dim, dstate), float32 or, on the slow path, complex. B, C: (dim, dstate),
    (batch, dstate, seqlen) or (batch, ngroups, dstate, seqlen), of 2 seqlen with complex A. D, delta_bias: (dim).

    Returns out (batch, dim, seqlen), and with return_last_state also (batch, dim, dstate) float32, whose gradient is not
    considered in the backward pass.
    """
    B = B.unsqueeze(1) if B.dim() == 3 else B
    C = C.unsqueeze(1) if C.dim() == 3 else C
    if A.is_complex():
        out, last_state = _formulas.selective_scan(u, delta, A, B, C, D, z, delta_bias, bool(delta_softplus))
        last_state = last_state.detach()
    else:
        out, last_state = _selective_scan(u, delta, A, B, C, D, z, delta_bias, bool(delta_softplus))
    return (out, last_state) if return_last_state else out


def mamba_inner_fn(xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, out_proj_weight, out_proj_bias, A,
                   B=None, C=None, D=None, delta_bias=None, B_proj_bias=None, C_proj_bias=None, delta_softplus=True,
                   checkpoint_lvl=1, b_rms_weight=None, c_rms_weight=None, dt_rms_weight=None, b_c_dt_rms_eps=1e-6):
    """A Mamba block between its input projection and its output: convolution, projections, scan.

    xz: (batch, 2 dim, seqlen). conv1d_weight: (dim, 1, width). B and C: constants (dim, dstate), or None: of the input.
    Returns (batch, seqlen, d_model).
    """
    assert checkpoint_lvl in (0, 1)
    batch, _, seqlen = xz.shape
    dt_rank, dstate = delta_proj_weight.shape[1], A.shape[-1] * (2 if A.is_complex() else 1)
    x, z = xz.chunk(2, dim=1)
    x = causal_conv1d_fn(x, conv1d_weight.squeeze(1), conv1d_bias, activation="silu")
    projected = F.linear(x.transpose(1, 2), x_proj_weight)  # (batch, seqlen, dt_rank + 2 dstate)

    def per_step(given, part, bias, norm_weight):
        if given is not None:
            return given
        if bias is not None:
            part = part + bias.to(part.dtype)
        if norm_weight is not None:
            part = rms_norm_fn(part, norm_weight, None, eps=b_c_dt_rms_eps)
        if A.is_complex():
            part = part.unflatten(-1, (-1, 2)).permute(0, 2, 1, 3).flatten(-2)
        else:
            part = part.transpose(1, 2)
        return part.unsqueeze(1)

    delta = F.linear(projected[..., :dt_rank], delta_proj_weight)
    if dt_rms_weight is not None:
        delta = rms_norm_fn(delta, dt_rms_weight, None, eps=b_c_dt_rms_eps)
    B = per_step(B, projected[..., dt_rank:dt_rank + dstate], B_proj_bias, b_rms_weight)
    C = per_step(C, projected[..., -dstate:], C_proj_bias, c_rms_weight)
    y = selective_scan_fn(x, delta.transpose(1, 2), A, B, C, D, z, delta_bias, delta_softplus)
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)
