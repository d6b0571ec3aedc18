"""Activation functions, element by element."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, stream_of


def activation(x: Array, kind: str, *, out: Array | None = None, stream: int | None = None) -> Array:
    """kind(x), element by element.

    x: float32, bfloat16 or float16, any shape. kind: "silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "sigmoid",
    "tanh", "softplus" or "identity", or one of Hugging Face's names for them. out: the array to write to, maybe x.
    """
    out = empty(x) if out is None else out
    _core.ops.activation(stream_of(x, stream), x=x, kind=kind, out=out)
    return out
