"""Depthwise causal convolution along time, the short convolution of Mamba blocks."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, number_of_sequences, shape_of, stream_of


def causal_conv1d(x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None,
                  initial_states: Array | None = None, seq_idx: Array | None = None, cu_seqlens: Array | None = None,
                  return_final_states: bool = False, out: Array | None = None, final_states: Array | None = None,
                  stream: int | None = None) -> Array | tuple[Array, Array]:
    """out[b, l, d] = activation(bias[d] + sum_k weight[d, k] x[b, l - (width - 1) + k, d])

    x: (batch, seqlen, dim) float32, bfloat16 or float16, any strides. weight: (dim, width). bias: (dim).
    initial_states: (nseq, dim, width - 1), the inputs before the first, oldest first; None: zeros.
    seq_idx: (batch, seqlen) int32, the sequence of each position: a tap of another sequence counts as zero.
    cu_seqlens: (nseq + 1) int32, with batch 1: where the sequences begin and end.

    Returns out, and with return_final_states (or final_states, the array to write them to) also the last width - 1
    inputs (nseq, dim, width - 1). nseq is batch, or with cu_seqlens the number of sequences.
    """
    out = empty(x) if out is None else out
    if return_final_states and final_states is None:
        dim, width = shape_of(weight)
        final_states = empty(x, (number_of_sequences(x, cu_seqlens), dim, width - 1))
    _core.ops.causal_conv1d(stream_of(x, stream), x=x, weight=weight, bias=bias, initial_states=initial_states,
                            seq_idx=seq_idx, cu_seqlens=cu_seqlens, activation=activation, out=out, final_states=final_states)
    return out if final_states is None else (out, final_states)


def causal_conv1d_update(x: Array, conv_state: Array, weight: Array, bias: Array | None = None, *,
                         activation: str | None = None, out: Array | None = None, stream: int | None = None) -> Array:
    """One step of causal_conv1d, for generation.

    x: (batch, dim). conv_state: (batch, dim, state_len), state_len >= width - 1, the latest inputs, oldest first; x is
    shifted in. weight: (dim, width). bias: (dim). Returns (batch, dim); out may be x.
    """
    out = empty(x) if out is None else out
    _core.ops.causal_conv1d_update(stream_of(x, stream), x=x, conv_state=conv_state, weight=weight, bias=bias,
                                   activation=activation, out=out)
    return out
