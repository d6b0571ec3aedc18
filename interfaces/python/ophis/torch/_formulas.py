"""What the ops compute, in plain torch and differentiable: for their backward passes, and for complex A."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ophis.torch._library import define

ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "gelu": F.gelu, "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
               "relu": F.relu, "sigmoid": F.sigmoid, "tanh": F.tanh}
"""Those of the convolution, by Hugging Face's names."""


def _wide(tensor: Tensor | None) -> Tensor | None:
    """At least float32."""
    return tensor.float() if tensor is not None and tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, x.new_zeros(()))  # F.softplus' backward has other strides than compilers are told


def _recurrence_kernel(a: Tensor, b: Tensor) -> Tensor:
    h = b.new_empty(b.shape)
    previous = b.new_zeros(b.shape[1:])
    for t in range(len(b)):
        previous = torch.addcmul(b[t], a[t], previous, out=h[t])
    return h


def _recurrence_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _recurrence_backward(ctx: Any, dh: Tensor) -> tuple[Tensor, Tensor]:
    a, h = ctx.saved_tensors
    next_a = torch.cat([a[1:], torch.zeros_like(a[:1])])
    db = _recurrence(next_a.conj().resolve_conj().flip(0), dh.flip(0)).flip(0)
    return torch.cat([torch.zeros_like(a[:1]), db[1:] * h[:-1].conj()]), db


# One op, so that a compiler does not unroll the loop over time.
_recurrence = define("recurrence(Tensor a, Tensor b) -> Tensor", _recurrence_kernel, lambda a, b: b.new_empty(b.shape),
                     _recurrence_backward, _recurrence_context)
"""h[t] = a[t] h[t - 1] + b[t] along the first axis, from zero."""


def _per_step(matrix: Tensor, dim: int, length: int, is_complex: bool) -> Tensor:
    """B or C of the selective scan, (dim, dstate) or (batch, ngroups, dstate, seqlen), as (seqlen, batch, dim, dstate)."""
    if matrix.dim() == 2:
        return matrix.expand(length, 1, *matrix.shape)
    if is_complex:  # real and imaginary parts lie side by side along time
        matrix = torch.view_as_complex(matrix.unflatten(-1, (-1, 2)).contiguous())
    return matrix.permute(3, 0, 1, 2).repeat_interleave(dim // matrix.shape[1], dim=2)


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
                   delta_bias: Tensor | None, delta_softplus: bool) -> tuple[Tensor, Tensor]:
    """u, delta, z: (batch, dim, seqlen); B, C: (dim, dstate) or (batch, ngroups, dstate, seqlen). Gives out, last_state."""
    dtype, (dim, length) = u.dtype, u.shape[1:]
    u, delta, A, B, C, D, z = (_wide(each) for each in (u, delta, A, B, C, D, z))
    if delta_bias is not None:
        delta = delta + _wide(delta_bias)[:, None]
    if delta_softplus:
        delta = _softplus(delta)
    steps = delta.permute(2, 0, 1).unsqueeze(-1)  # (seqlen, batch, dim, 1)
    inputs = steps * u.permute(2, 0, 1).unsqueeze(-1) * _per_step(B, dim, length, A.is_complex())
    h = _recurrence(torch.exp(steps * A), inputs)
    y = (h * _per_step(C, dim, length, A.is_complex())).sum(-1).permute(1, 2, 0)
    if y.is_complex():  # of a pair of conjugate states one is computed
        y = 2 * y.real
    if D is not None:
        y = y + D[:, None] * u
    if z is not None:
        y = y * F.silu(z)
    return y.to(dtype), h[-1]


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None, seq_idx: Tensor | None, initial_states: Tensor | None,
                  return_final_states: bool, activation: str) -> tuple[Tensor, Tensor]:
    """x: (batch, dim, seqlen). Gives out and the last width - 1 inputs."""
    dtype, width, length = x.dtype, weight.shape[1], x.shape[-1]
    x = _wide(x)
    before = x.new_zeros(*x.shape[:2], width - 1) if initial_states is None else initial_states.to(x.dtype)
    padded = torch.cat([before, x], dim=-1)
    taps = [weight_of_tap[:, None] * padded[..., k:k + length] for k, weight_of_tap in enumerate(_wide(weight).unbind(1))]
    if seq_idx is not None:
        idx = torch.cat([seq_idx[:, :1].expand(-1, width - 1), seq_idx], dim=-1)
        taps = [tap * (idx[:, k:k + length] == seq_idx)[:, None] for k, tap in enumerate(taps)]
    out = sum(taps[1:], taps[0])
    if bias is not None:
        out = out + _wide(bias)[:, None]
    if seq_idx is not None:
        out = out * (seq_idx >= 0)[:, None]
    if activation != "identity":
        out = ACTIVATIONS[activation](out)
    final_states = padded[..., padded.shape[-1] - (width - 1):]
    if seq_idx is not None:  # of the last sequence
        final_states = final_states * (idx[:, idx.shape[1] - (width - 1):] == idx[:, -1:])[:, None]
    return out.to(dtype), final_states.to(dtype)


def ssd_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int, D: Tensor | None, z: Tensor | None,
             dt_bias: Tensor | None, initial_states: Tensor | None, seq_idx: Tensor | None, dt_softplus: bool, dt_min: float,
             dt_max: float) -> tuple[Tensor, Tensor]:
    """The chunked form (Dao and Gu 2024, section 6). x, z: (batch, seqlen, nheads, headdim). Gives out, final_states."""
    dtype, (batch, length, nheads, _) = x.dtype, x.shape
    x, dt, A, B, C, D, z, initial_states = (_wide(each) for each in (x, dt, A, B, C, D, z, initial_states))
    if dt_bias is not None:
        dt = dt + _wide(dt_bias)
    if dt_softplus:
        dt = _softplus(dt)
    dt = dt.clamp(dt_min, dt_max)
    # Steps of size zero fill up the last chunk.
    chunk = min(chunk_size, length)
    fill = -length % chunk
    chunks = lambda tensor: F.pad(tensor, [0, 0] * (tensor.dim() - 2) + [0, fill]).unflatten(1, (-1, chunk))  # noqa: E731
    per_head = lambda tensor: chunks(tensor).repeat_interleave(nheads // tensor.shape[2], dim=3)  # noqa: E731
    xdt, Bs, Cs = chunks(x * dt[..., None]), per_head(B), per_head(C)  # (batch, chunk, position, head, ...)
    decay = chunks(dt * A).cumsum(2)  # log of the decay since the chunk's start
    if seq_idx is None:
        idx = torch.zeros(batch, length + fill, dtype=torch.int32, device=x.device)
    else:
        idx = torch.cat([seq_idx, seq_idx[:, -1:].expand(-1, fill)], dim=1)
    first, idx = idx[:, :1], idx.unflatten(1, (-1, chunk))
    last = idx[:, :, -1]
    before = torch.cat([first, last[:, :-1]], dim=1)  # the sequence that the state before each chunk belongs to

    # Within a chunk.
    sees = (idx[:, :, :, None] == idx[:, :, None, :]) & torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    log = (decay[:, :, :, None] - decay[:, :, None]).masked_fill(~sees[..., None], -torch.inf)
    y = torch.einsum("bcihn,bcjhn,bcijh,bcjhp->bcihp", Cs, Bs, log.exp(), xdt)
    # The states that chunks add, and pass on.
    stays = ((decay[:, :, -1:] - decay).exp() * (idx == last[..., None])[..., None])
    added = torch.einsum("bcjhn,bcjh,bcjhp->bchpn", Bs, stays, xdt)
    passes = decay[:, :, -1].exp() * (last == before)[..., None]
    state = torch.zeros_like(added[:, 0]) if initial_states is None else initial_states.to(added.dtype)
    states = []
    for c in range(added.shape[1]):
        states.append(state)
        state = passes[:, c, :, None, None] * state + added[:, c]
    arrives = decay.exp() * (idx == before[..., None])[..., None]
    y = y + torch.einsum("bcihn,bcih,bchpn->bcihp", Cs, arrives, torch.stack(states, dim=1))
    y = y.flatten(1, 2)[:, :length]
    if D is not None:
        y = y + x * (D if D.dim() == 2 else D[:, None])
    if z is not None:
        y = y * F.silu(z)
    return y.to(dtype), state


def norm(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, z: Tensor | None, eps: float,
         is_rms_norm: bool, norm_before_gate: bool, group_size: int, residual_dtype: torch.dtype | None
         ) -> tuple[Tensor, Tensor]:
    """Gives the normalised rows, and x + residual in residual_dtype, if it is given."""
    dtype = x.dtype
    s = _wide(x) if residual is None else _wide(x) + _wide(residual)
    rows = s if z is None or norm_before_gate else s * F.silu(_wide(z))
    if is_rms_norm:
        groups = rows.unflatten(-1, (-1, group_size or rows.shape[-1]))
        y = (groups * torch.rsqrt(groups.square().mean(-1, keepdim=True) + eps)).flatten(-2)
    else:
        y = F.layer_norm(rows, rows.shape[-1:], eps=eps)
    y = y * _wide(weight)
    if bias is not None:
        y = y + _wide(bias)
    if z is not None and norm_before_gate:
        y = y * F.silu(_wide(z))
    return y.to(dtype), s.new_empty(0) if residual_dtype is None else s.to(residual_dtype)
