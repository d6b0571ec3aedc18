"""Layer normalisation of rows."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def layer_norm(x: Array, weight: Array | None = None, bias: Array | None = None, *, residual: Array | None = None,
               eps: float = 1e-5, residual_out: Array | None = None, out: Array | None = None,
               stream: int | None = None) -> Array:
    """(s - mean(s)) / sqrt(var(s) + eps) * weight + bias over the last axis, with s = x + residual.

    x: (rows..., dim) float32, bfloat16 or float16. residual: as x, or float32. residual_out: an array for s, maybe residual.
    """
    out = empty(x) if out is None else out
    _core.ops.layer_norm(stream_of(x, stream), x=x, weight=weight, bias=bias, residual=residual, eps=eps,
                         residual_out=residual_out, out=out)
    return out
