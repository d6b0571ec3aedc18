"""Zeroes the positions of a sequence that a mask leaves out."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def mask_positions(x: Array, mask: Array, *, out: Array | None = None, stream: int | None = None) -> Array:
    """x where the mask is not 0, and 0 elsewhere. x: (batch, seqlen, dim). mask: (batch, seqlen) int64 or int32."""
    out = empty(x) if out is None else out
    _core.ops.mask_positions(stream_of(x, stream), x=x, mask=mask, out=out)
    return out
