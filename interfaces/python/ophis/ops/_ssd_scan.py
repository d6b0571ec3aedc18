"""The state-space duality (SSD) scan of Mamba-2 and its one-step update."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, number_of_sequences, shape_of, stream_of

INFINITY = float("inf")


def ssd_scan(x: Array, dt: Array, A: Array, B: Array, C: Array, D: Array | None = None, z: Array | None = None,
             dt_bias: Array | None = None, dt_softplus: bool = False, *, dt_limit: tuple[float, float] = (0.0, INFINITY),
             chunk_size: int = 256, initial_states: Array | None = None, seq_idx: Array | None = None,
             cu_seqlens: Array | None = None, return_final_states: bool = False, out: Array | None = None,
             final_states: Array | None = None, stream: int | None = None) -> Array | tuple[Array, Array]:
    """For every sequence, head h and element p of the head, with dt' = clamp(softplus(dt + dt_bias), dt_limit):

        S[p, n]   = exp(dt' A[h]) S[p, n] + dt' x[l, h, p] B[l, g, n]
        out[l, p] = (sum_n C[l, g, n] S[p, n] + D[h, p] x[l, h, p]) silu(z[l, h, p])

    x, z: (batch, seqlen, nheads, headdim) float32, bfloat16 or float16, any strides. dt: (batch, seqlen, nheads).
    A, dt_bias: (nheads). B, C: (batch, seqlen, ngroups, dstate). D: (nheads) or (nheads, headdim).
    chunk_size: positions that an implementation may handle together, a hint.
    initial_states: (nseq, nheads, headdim, dstate) float32; None: zeros. seq_idx: (batch, seqlen) int32: where it changes the
    state starts again from zero. cu_seqlens: (nseq + 1) int32, with batch 1: where the sequences begin and end.

    Returns out, and with return_final_states (or final_states, the array to write them to) also the states after the last
    positions (nseq, nheads, headdim, dstate) float32. nseq is batch, or with cu_seqlens the number of sequences.
    """
    out = empty(x) if out is None else out
    if return_final_states and final_states is None:
        final_states = empty(x, (number_of_sequences(x, cu_seqlens), *shape_of(x)[2:], shape_of(B)[3]), "float32")
    _core.ops.ssd_scan(stream_of(x, stream), x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus,
                       dt_min=dt_limit[0], dt_max=dt_limit[1], chunk_size=chunk_size, initial_states=initial_states,
                       seq_idx=seq_idx, cu_seqlens=cu_seqlens, out=out, final_states=final_states)
    return out if final_states is None else (out, final_states)


def ssd_state_update(state: Array, x: Array, dt: Array, A: Array, B: Array, C: Array, D: Array | None = None,
                     z: Array | None = None, dt_bias: Array | None = None, dt_softplus: bool = False, *,
                     dt_limit: tuple[float, float] = (0.0, INFINITY), out: Array | None = None,
                     stream: int | None = None) -> Array:
    """One step of ssd_scan, for generation.

    state: (batch, nheads, headdim, dstate) float32 or x's dtype, advanced. x, z: (batch, nheads, headdim). dt:
    (batch, nheads). A, dt_bias: (nheads). B, C: (batch, ngroups, dstate). D: (nheads) or (nheads, headdim).
    Returns (batch, nheads, headdim).
    """
    out = empty(x) if out is None else out
    _core.ops.ssd_state_update(stream_of(x, stream), state=state, x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias,
                               dt_softplus=dt_softplus, dt_min=dt_limit[0], dt_max=dt_limit[1], out=out)
    return out
