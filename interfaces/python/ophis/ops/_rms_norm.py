"""Root-mean-square normalisation of rows, with a residual and a gate."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def rms_norm(x: Array, weight: Array | None = None, bias: Array | None = None, *, residual: Array | None = None,
             z: Array | None = None, eps: float = 1e-5, norm_before_gate: bool = False, group_size: int = 0,
             residual_out: Array | None = None, out: Array | None = None, stream: int | None = None) -> Array:
    """s / sqrt(mean(s^2) + eps) * weight + bias over the last axis or groups of it, with s = x + residual.

    x: (rows..., dim) float32, bfloat16 or float16. residual: as x, or float32. z: a gate like x: norm(s silu(z)), or
    norm(s) silu(z) with norm_before_gate. group_size: elements under one mean; 0: all. residual_out: an array for s.
    """
    out = empty(x) if out is None else out
    _core.ops.rms_norm(stream_of(x, stream), x=x, weight=weight, bias=bias, residual=residual, z=z, eps=eps,
                       norm_before_gate=norm_before_gate, group_size=group_size, residual_out=residual_out, out=out)
    return out
