"""Rows of a table by number."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def embedding(ids: Array, weight: Array, *, out: Array | None = None, stream: int | None = None) -> Array:
    """out[i..., :] = weight[ids[i...], :]

    ids: (tokens...) int64 or int32. weight: (vocab, dim) float32, bfloat16 or float16. Returns (tokens..., dim).
    """
    out = empty(weight, (*shape_of(ids), shape_of(weight)[1])) if out is None else out
    _core.ops.embedding(stream_of(weight, stream), ids=ids, weight=weight, out=out)
    return out
