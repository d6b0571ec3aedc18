"""Softmax and its logarithm over rows."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def softmax(x: Array, *, log: bool = False, out: Array | None = None, stream: int | None = None) -> Array:
    """softmax(x) over the last axis, or its logarithm. x: (rows..., n) float32, bfloat16 or float16. out may be x."""
    out = empty(x) if out is None else out
    _core.ops.softmax(stream_of(x, stream), x=x, log=log, out=out)
    return out
