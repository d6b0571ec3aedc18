"""One step of both scans, as mamba_ssm.ops.triton.selective_state_update has it."""

from __future__ import annotations

import torch
from torch import Tensor

from ophis import _core
from ophis.torch._library import call, cast, common_dtype, define


def _is_tied(tensor: Tensor | None, axes: int) -> bool:
    """Whether the last axes repeat one element, as expand() makes them."""
    return tensor is None or all(tensor.stride(-axis - 1) == 0 or tensor.shape[-axis - 1] == 1 for axis in range(axes))


def _kernel(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus):
    dtype = common_dtype(x, dt, B, C, z)
    held = state if state.dtype in (dtype, torch.float32) else state.float()
    x_, dt, B, C, z = (cast(each, dtype) for each in (x, dt, B, C, z))
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    if _is_tied(A, 2) and _is_tied(dt, 1) and _is_tied(dt_bias, 1):  # Mamba-2: one step size for a head
        call(_core.ops.ssd_state_update, out, state=held, x=x_, dt=dt[..., 0], A=A[:, 0, 0], B=B, C=C, D=D, z=z,
             dt_bias=None if dt_bias is None else dt_bias[:, 0], dt_softplus=dt_softplus)
    else:  # the heads are further channels
        flat = lambda tensor, axis: None if tensor is None else tensor.flatten(axis, axis + 1)  # noqa: E731
        merged = held.reshape(held.shape[0], -1, held.shape[-1])
        call(_core.ops.selective_state_update, flat(out, 1), state=merged, x=flat(x_, 1), dt=flat(dt, 1), A=flat(A, 0), B=B,
             C=C, D=flat(D, 0), z=flat(z, 1), dt_bias=flat(dt_bias, 0), dt_softplus=dt_softplus)
        if merged.data_ptr() != held.data_ptr():
            held.copy_(merged.view_as(held))
    if held is not state:
        state.copy_(held)
    return cast(out, x.dtype)


_selective_state_update = define(
    "selective_state_update(Tensor(a!) state, Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, "
    "Tensor? dt_bias, bool dt_softplus) -> Tensor",
    _kernel, lambda state, x, dt, A, B, C, D, z, dt_bias, dt_softplus: x.new_empty(x.shape))


def selective_state_update(state, x, dt, A, B, C, D=None, z=None, dt_bias=None, dt_softplus=False, state_batch_indices=None):
    """Advances state by one step.

    state: (batch, dim, dstate) or (batch, nheads, dim, dstate); x, dt, z: (batch, dim) or (batch, nheads, dim);
    A: (dim, dstate) or (nheads, dim, dstate); B, C: (batch, dstate) or (batch, ngroups, dstate); D, dt_bias: (dim) or
    (nheads, dim). state_batch_indices: (batch): the rows of a larger state that belong to x. Returns out like x.
    """
    has_heads = state.dim() > 3
    with_heads = lambda tensor, rank, axis: (  # noqa: E731
        tensor.unsqueeze(axis) if tensor is not None and tensor.dim() == rank else tensor)
    heads_of_state = with_heads(state, 3, 1)
    x, dt, z = (with_heads(each, 2, 1) for each in (x, dt, z))
    A, D, dt_bias = with_heads(A, 2, 0), with_heads(D, 1, 0), with_heads(dt_bias, 1, 0)
    B, C = with_heads(B, 2, 1), with_heads(C, 2, 1)
    _, nheads, dim, dstate = heads_of_state.shape
    batch, ngroups = x.shape[0], B.shape[1]
    assert x.shape == (batch, nheads, dim)
    assert dt.shape == x.shape
    assert A.shape == (nheads, dim, dstate)
    assert nheads % ngroups == 0, "nheads must be divisible by ngroups"
    assert B.shape == (batch, ngroups, dstate)
    assert C.shape == B.shape
    assert D is None or D.shape == (nheads, dim)
    assert z is None or z.shape == x.shape
    assert dt_bias is None or dt_bias.shape == (nheads, dim)
    rows = None
    if state_batch_indices is not None:
        assert state_batch_indices.shape == (batch,)
        rows, whole = state_batch_indices.long(), heads_of_state
        heads_of_state = whole[rows]
    out = _selective_state_update(heads_of_state, x, dt, A, B, C, D, z, dt_bias, bool(dt_softplus))
    if rows is not None:
        whole[rows] = heads_of_state
    return out if has_heads else out.squeeze(1)
