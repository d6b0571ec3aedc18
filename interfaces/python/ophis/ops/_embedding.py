"""Rows of a table by number."""

from __future__ import annotations

from ophis import _core
from ophis.errors import InvalidArgumentError
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def embedding(ids: Array, weight: Array, *, weight_scale: Array | None = None, weight_shift: Array | None = None,
              out: Array | None = None, stream: int | None = None) -> Array:
    """out[i..., :] = weight[ids[i...], :]

    ids: (tokens...) int64 or int32. weight: (vocab, dim) float32, bfloat16 or float16. Returns (tokens..., dim). With
    weight_scale (vocab, groups), and weight_shift (vocab, groups) or None, weight holds codes as quantized_linear's, and out
    must be given.
    """
    if out is None:
        if weight_scale is not None:
            raise InvalidArgumentError("embedding: with codes out must be given, as its dtype is not known")
        out = empty(weight, (*shape_of(ids), shape_of(weight)[1]))
    _core.ops.embedding(stream_of(weight, stream), ids=ids, weight=weight, weight_scale=weight_scale,
                        weight_shift=weight_shift, out=out)
    return out
