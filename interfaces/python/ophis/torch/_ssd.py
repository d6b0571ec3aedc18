"""The SSD scan of Mamba-2, as mamba_ssm.ops.triton.ssd_combined has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ophis import _core
from ophis.torch import _formulas
from ophis.torch._causal_conv1d import causal_conv1d_fn
from ophis.torch._library import call, cast, common_dtype, define, gradients_by
from ophis.torch._norm import rmsnorm_fn

INFINITY = float("inf")


def _scan(x, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, nseq, **more):
    dtype = common_dtype(x, dt, B, C, z)
    x_, dt, B, C, z = (cast(each, dtype) for each in (x, dt, B, C, z))
    if initial_states is not None and initial_states.dtype not in (dtype, torch.float32):
        initial_states = initial_states.float()
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    final_states = torch.empty(nseq, *x.shape[2:], B.shape[-1], dtype=torch.float32, device=x.device)
    call(_core.ops.ssd_scan, out, x=x_, dt=dt, A=A, B=B, C=C, chunk_size=chunk_size, D=D, z=z, dt_bias=dt_bias,
         initial_states=initial_states, final_states=final_states, **more)
    return cast(out, x.dtype), final_states


def _kernel(x, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, seq_idx, dt_softplus, dt_min, dt_max):
    return _scan(x, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, x.shape[0], seq_idx=cast(seq_idx, torch.int32),
                 dt_softplus=dt_softplus, dt_min=dt_min, dt_max=dt_max)


def _fake(x, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, seq_idx, dt_softplus, dt_min, dt_max):
    return x.new_empty(x.shape), x.new_empty(x.shape[0], *x.shape[2:], B.shape[-1], dtype=torch.float32)


_ssd_scan = define(
    "ssd_scan(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, int chunk_size, Tensor? D, Tensor? z, Tensor? dt_bias, "
    "Tensor? initial_states, Tensor? seq_idx, bool dt_softplus, float dt_min, float dt_max) -> (Tensor, Tensor)",
    _kernel, _fake, *gradients_by(_formulas.ssd_scan, num_outputs=2))


def _varlen_states_kernel(x, dt, A, B, C, chunk_size, dt_bias, initial_states, cu_seqlens, dt_softplus, dt_min, dt_max):
    nseq, end = cu_seqlens.shape[0] - 1, int(cu_seqlens[-1])
    x, dt, B, C = (each[:, :end] for each in (x, dt, B, C))  # what follows is padding
    if initial_states is not None:  # it belongs to the first sequence
        initial_states = torch.cat([initial_states, initial_states.new_zeros(nseq - 1, *initial_states.shape[1:])])
    return _scan(x, dt, A, B, C, chunk_size, None, None, dt_bias, initial_states, nseq, cu_seqlens=cast(cu_seqlens, torch.int32),
                 dt_softplus=dt_softplus, dt_min=dt_min, dt_max=dt_max)[1].to(C.dtype)


def _varlen_states_fake(x, dt, A, B, C, chunk_size, dt_bias, initial_states, cu_seqlens, dt_softplus, dt_min, dt_max):
    return C.new_empty(cu_seqlens.shape[0] - 1, *x.shape[2:], B.shape[-1])


_varlen_states = define(
    "ssd_varlen_states(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, int chunk_size, Tensor? dt_bias, "
    "Tensor? initial_states, Tensor cu_seqlens, bool dt_softplus, float dt_min, float dt_max) -> Tensor",
    _varlen_states_kernel, _varlen_states_fake)


def mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None, seq_idx=None,
                              cu_seqlens=None, dt_softplus=False, dt_limit=(0.0, INFINITY), return_final_states=False,
                              return_varlen_states=False):
    """The scan of ophis.ops.ssd_scan, with mamba_ssm's arguments.

    x, z: (batch, seqlen, nheads, headdim). dt: (batch, seqlen, nheads). A, dt_bias: (nheads). B, C: (batch, seqlen,
    ngroups, dstate). D: (nheads, headdim) or (nheads). initial_states: (batch, nheads, headdim, dstate). seq_idx:
    (batch, seqlen). cu_seqlens: (num_sequences + 1), only used with return_varlen_states.

    Returns out (batch, seqlen, nheads, headdim); with return_final_states also (batch, nheads, headdim, dstate) float32;
    with return_varlen_states also the states at the end of each sequence (num_sequences, nheads, headdim, dstate).
    """
    batch, seqlen, nheads, headdim = x.shape
    ngroups, dstate = B.shape[2:]
    assert nheads % ngroups == 0
    assert B.shape == (batch, seqlen, ngroups, dstate)
    assert dt.shape == (batch, seqlen, nheads)
    assert A.shape == (nheads,)
    assert C.shape == B.shape
    assert z is None or z.shape == x.shape
    assert D is None or D.shape in ((nheads, headdim), (nheads,))
    assert seq_idx is None or seq_idx.shape == (batch, seqlen)
    assert initial_states is None or initial_states.shape == (batch, nheads, headdim, dstate)
    dt_min, dt_max = float(dt_limit[0]), float(dt_limit[1])
    out, final_states = _ssd_scan(x, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, seq_idx, bool(dt_softplus),
                                  dt_min, dt_max)
    outputs = [out, final_states] if return_final_states else [out]
    if return_varlen_states:
        assert cu_seqlens is not None, "cu_seqlens must be provided if return_varlen_states is True"
        assert batch == 1, "passing cu_seqlens to get the varlen states is only supported if batch dimension is 1"
        with torch.no_grad():
            outputs.append(_varlen_states(x, dt, A, B, C, chunk_size, dt_bias, initial_states, cu_seqlens,
                                          bool(dt_softplus), dt_min, dt_max))
    return tuple(outputs) if len(outputs) > 1 else out


def mamba_split_conv1d_scan_combined(zxbcdt, conv1d_weight, conv1d_bias, dt_bias, A, D, chunk_size, initial_states=None,
                                     seq_idx=None, dt_limit=(0.0, INFINITY), return_final_states=False, activation="silu",
                                     rmsnorm_weight=None, rmsnorm_eps=1e-6, outproj_weight=None, outproj_bias=None,
                                     headdim=None, ngroups=1, norm_before_gate=True):
    """A Mamba-2 block between its input projection and its output: convolution, scan, gated norm, projection.

    zxbcdt: (batch, seqlen, 2 dim + 2 ngroups dstate + nheads), perhaps with 2 d_nonssm in front for a gated MLP beside the
    scan. conv1d_weight: (dim + 2 ngroups dstate, width). D: (nheads, headdim), or (nheads) with headdim given.
    initial_states: (batch, nheads, headdim, dstate). rmsnorm_weight: (dim), or None: the scan's output is gated instead.

    Returns (batch, seqlen, dim), and with return_final_states also (batch, nheads, headdim, dstate) float32.
    """
    assert activation in (None, "silu", "swish")
    if D.dim() == 1:
        assert headdim is not None
        nheads, = D.shape
    else:
        nheads, headdim = D.shape
    batch, seqlen, width = zxbcdt.shape
    dim = nheads * headdim
    assert nheads % ngroups == 0
    dstate = (conv1d_weight.shape[0] - dim) // ngroups // 2
    d_nonssm = (width - 2 * dim - 2 * ngroups * dstate - nheads) // 2
    assert d_nonssm >= 0
    assert width == 2 * d_nonssm + 2 * dim + 2 * ngroups * dstate + nheads
    assert dt_bias.shape == (nheads,)
    assert A.shape == (nheads,)
    assert outproj_weight is not None or outproj_bias is None
    mlp, z, xBC, dt = torch.split(zxbcdt, [2 * d_nonssm, dim, dim + 2 * ngroups * dstate, nheads], dim=-1)
    xBC = causal_conv1d_fn(xBC.transpose(1, 2), conv1d_weight, conv1d_bias, seq_idx=seq_idx, activation=activation)
    x, B, C = torch.split(xBC.transpose(1, 2), [dim, ngroups * dstate, ngroups * dstate], dim=-1)
    heads = lambda tensor: tensor.unflatten(-1, (nheads, headdim))  # noqa: E731
    out, final_states = mamba_chunk_scan_combined(
        heads(x), dt, A, B.unflatten(-1, (ngroups, dstate)), C.unflatten(-1, (ngroups, dstate)), chunk_size, D=D,
        z=heads(z) if rmsnorm_weight is None else None, dt_bias=dt_bias, initial_states=initial_states, seq_idx=seq_idx,
        dt_softplus=True, dt_limit=dt_limit, return_final_states=True)
    out = out.flatten(-2)
    if rmsnorm_weight is not None:
        out = rmsnorm_fn(out, rmsnorm_weight, None, z=z, eps=rmsnorm_eps, group_size=dim // ngroups,
                         norm_before_gate=norm_before_gate)
    if d_nonssm > 0:
        gate, up = mlp.chunk(2, dim=-1)
        out = torch.cat([F.silu(gate) * up, out], dim=-1)
    if outproj_weight is not None:
        out = F.linear(out, outproj_weight, outproj_bias)
    return (out, final_states) if return_final_states else out
