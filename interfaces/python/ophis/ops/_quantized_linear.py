"""Matrix product with a weight of 8-bit or 4-bit codes."""

from __future__ import annotations

from ophis import _core
from ophis.errors import InvalidArgumentError
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def quantized_linear(x: Array, weight: Array, weight_scale: Array, weight_shift: Array | None = None,
                     bias: Array | None = None, *, accumulate: bool = False, out: Array | None = None,
                     stream: int | None = None) -> Array:
    """out[r, o] = bias[o] + sum_i x[r, i] w[o, i] with w[o, i] = weight_scale[o, g] code[o, i] + weight_shift[o, g]

    x: (rows..., in), in a multiple of 8. weight: (out, in * bits / 8) uint8, of 8-bit codes or of two 4-bit codes a byte, the
    first in the low half. weight_scale: (out, groups); g is the group of input i, of in / groups each, a multiple of 8.
    weight_shift: (out, groups) float32; None: -2^(bits - 1) weight_scale. Returns (rows..., out); out may be float32.
    accumulate: the result is added to what out, which must be given, holds.
    """
    if accumulate and out is None:
        raise InvalidArgumentError("quantized_linear: accumulate adds to out, which is not given")
    out = empty(x, (*shape_of(x)[:-1], shape_of(weight)[0])) if out is None else out
    _core.ops.quantized_linear(stream_of(x, stream), x=x, weight=weight, weight_scale=weight_scale,
                               weight_shift=weight_shift, bias=bias, accumulate=accumulate, out=out)
    return out
