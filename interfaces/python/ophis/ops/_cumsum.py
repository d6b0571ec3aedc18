"""Cumulative sums."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def cumsum(x: Array, axis: int = -1, *, reverse: bool = False, out: Array | None = None, stream: int | None = None) -> Array:
    """out[..., l, ...] = sum over j <= l (reverse: j >= l) of x[..., j, ...] along an axis.

    x: float32, bfloat16, float16, float64, int32 or int64. out: of x's dtype (for int32 also int64), maybe x.
    """
    out = empty(x) if out is None else out
    _core.ops.cumsum(stream_of(x, stream), x=x, axis=axis, reverse=reverse, out=out)
    return out
