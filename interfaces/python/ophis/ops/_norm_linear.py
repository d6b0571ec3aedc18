"""What a step of generation does in front of a recurrence: norm, projection, short convolution."""

from __future__ import annotations

from ophis import _core
from ophis.errors import InvalidArgumentError
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def norm_linear(x: Array, weight: Array, bias: Array | None = None, *, norm_weight: Array | None = None, eps: float = 1e-5,
                weight_scale: Array | None = None, weight_shift: Array | None = None, accumulate: bool = False,
                conv_state: Array | None = None, conv_weight: Array | None = None, conv_bias: Array | None = None,
                conv_activation: str | None = None, conv_begin: int = 0, out: Array | None = None, stream: int | None = None
                ) -> Array:
    """linear(rms_norm(x, norm_weight), weight, bias), some of whose outputs go through causal_conv1d_update.

    x: (rows..., in), of weight's dtype or float32. weight: (out, in); or with weight_scale, and weight_shift or None, codes as
    quantized_linear's. accumulate: added to what out holds. With conv_state (rows, conv_dim, state_len), which is advanced, and
    conv_weight (conv_dim, width) the outputs from conv_begin on, conv_dim of them, are convolved. Returns (rows..., out) of
    weight's dtype, of x's with codes.
    """
    if accumulate and out is None:
        raise InvalidArgumentError("norm_linear: accumulate adds to out, which is not given")
    if out is None:
        out = empty(weight if weight_scale is None else x, (*shape_of(x)[:-1], shape_of(weight)[0]))
    _core.ops.norm_linear(stream_of(x, stream), x=x, norm_weight=norm_weight, eps=eps, weight=weight,
                          weight_scale=weight_scale, weight_shift=weight_shift, bias=bias, accumulate=accumulate,
                          conv_state=conv_state, conv_weight=conv_weight, conv_bias=conv_bias,
                          conv_activation=conv_activation, conv_begin=conv_begin, out=out)
    return out
