"""The loss of a language model."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def cross_entropy(logits: Array, labels: Array, *, ignore_index: int = -100, losses: Array | None = None,
                  stream: int | None = None) -> Array:
    """losses[i...] = -log softmax(logits[i..., :])[labels[i...]], and 0 where the label is ignore_index.

    logits: (rows..., vocab) float32, bfloat16 or float16. labels: (rows...) int64. Returns (rows...) float32, in nats.
    """
    losses = empty(logits, shape_of(logits)[:-1], "float32") if losses is None else losses
    _core.ops.cross_entropy(stream_of(logits, stream), logits=logits, labels=labels, ignore_index=ignore_index, losses=losses)
    return losses
