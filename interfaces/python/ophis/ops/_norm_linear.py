"""What a step of generation does in front of a recurrence: norm, projection, short convolution."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def norm_linear(x: Array, weight: Array, bias: Array | None = None, *, norm_weight: Array | None = None,
                residual: Array | None = None, eps: float = 1e-5, conv_state: Array | None = None,
                conv_weight: Array | None = None, conv_bias: Array | None = None, conv_activation: str | None = None,
                conv_begin: int = 0, residual_out: Array | None = None, out: Array | None = None,
                stream: int | None = None) -> Array:
    """linear(rms_norm(x + residual, norm_weight), weight, bias), some of whose outputs go through causal_conv1d_update.

    x: (rows..., in). weight: (out, in). With conv_state (rows, conv_dim, state_len), which is advanced, and conv_weight
    (conv_dim, width) the outputs from conv_begin on, conv_dim of them, are convolved. residual_out: an array for x + residual.
    """
    out = empty(x, (*shape_of(x)[:-1], shape_of(weight)[0])) if out is None else out
    _core.ops.norm_linear(stream_of(x, stream), x=x, residual=residual, norm_weight=norm_weight, eps=eps, weight=weight,
                          bias=bias, conv_state=conv_state, conv_weight=conv_weight, conv_bias=conv_bias,
                          conv_activation=conv_activation, conv_begin=conv_begin, residual_out=residual_out, out=out)
    return out
