"""Draws the next token of each sequence from its logits."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, shape_of, stream_of


def sample(logits: Array, *, temperature: Array | None = None, top_k: Array | None = None, top_p: Array | None = None,
           min_p: Array | None = None, repetition_penalty: Array | None = None, presence_penalty: Array | None = None,
           frequency_penalty: Array | None = None, prompt_counts: Array | None = None, seed: Array | None = None,
           sequence: Array | None = None, position: Array | None = None, counts: Array | None = None, out: Array | None = None,
           stream: int | None = None) -> Array:
    """A token of each row, by penalties, temperature, top-k, top-p and min-p in this order; docs/ops/sample.md has the formulas.

    logits: (batch, vocab) float32, bfloat16 or float16. Settings are one for each row: temperature, top_p, min_p and the
    penalties (batch) float32; top_k, seed, sequence and position (batch) int64, of which position grows by 1. prompt_counts,
    counts: (batch, vocab) int32, how often a token is in the prompt and was drawn; the drawn one's grows. Returns (batch) int64.
    """
    out = empty(logits, shape_of(logits)[:1], "int64") if out is None else out
    _core.ops.sample(stream_of(logits, stream), logits=logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
                     repetition_penalty=repetition_penalty, presence_penalty=presence_penalty,
                     frequency_penalty=frequency_penalty, prompt_counts=prompt_counts, seed=seed, sequence=sequence,
                     position=position, counts=counts, out=out)
    return out
