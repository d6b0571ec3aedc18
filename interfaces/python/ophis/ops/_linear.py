"""Matrix product with a weight matrix."""

from __future__ import annotations

from ophis import _core
from ophis.errors import InvalidArgumentError
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def linear(x: Array, weight: Array, bias: Array | None = None, *, accumulate: bool = False, out: Array | None = None,
           stream: int | None = None) -> Array:
    """out[r, o] = bias[o] + sum_i x[r, i] weight[o, i]

    x: (rows..., in), weight: (out, in), of one dtype, the last axes dense. Returns (rows..., out); out may be float32.
    accumulate: the result is added to what out, which must be given, holds.
    """
    if accumulate and out is None:
        raise InvalidArgumentError("linear: accumulate adds to out, which is not given")
    out = empty(x, (*shape_of(x)[:-1], shape_of(weight)[0])) if out is None else out
    _core.ops.linear(stream_of(x, stream), x=x, weight=weight, bias=bias, accumulate=accumulate, out=out)
    return out
