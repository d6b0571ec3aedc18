"""The position of the largest element of each row."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def argmax(x: Array, *, out: Array | None = None, stream: int | None = None) -> Array:
    """The first position of the largest element along the last axis. NaN counts as larger than every number.

    x: (rows..., n) float32, bfloat16 or float16. Returns (rows...) int64.
    """
    out = empty(x, shape_of(x)[:-1], "int64") if out is None else out
    _core.ops.argmax(stream_of(x, stream), x=x, out=out)
    return out
