"""What the functions of the ops have in common: outputs like the inputs, and the stream of a GPU."""

from __future__ import annotations

from typing import Any

from ophis import _core

Array = Any
"""An array of numpy, a torch tensor, or an object of any library that speaks DLPack."""


def shape_of(array: Array) -> tuple[int, ...]:
    shape = getattr(array, "shape", None)
    return _core.shape_of(array) if shape is None else tuple(shape)


def empty(like: Array, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Array:
    """An uninitialised array of like's library, on its device; shape and dtype are like's unless given."""
    return _core.empty(like, shape, dtype)


def stream_of(array: Array, stream: int | None) -> int | None:
    """The stream to work on: the caller's choice, else torch's current one for its tensors, else the default one."""
    if stream is None and _core.library_of(array) == "torch" and array.is_cuda:
        import torch

        return torch.cuda.current_stream(array.device).cuda_stream
    return stream


def number_of_sequences(x: Array, cu_seqlens: Array | None) -> int:
    return shape_of(x)[0] if cu_seqlens is None else shape_of(cu_seqlens)[0] - 1
