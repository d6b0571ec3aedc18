"""The selective scan of Mamba-1."""

from __future__ import annotations

from ophis import _core
from ophis.ops._arrays import Array, empty, number_of_sequences, shape_of, stream_of


def selective_scan(u: Array, delta: Array, A: Array, B: Array, C: Array, D: Array | None = None, z: Array | None = None,
                   delta_bias: Array | None = None, delta_softplus: bool = False, *, initial_states: Array | None = None,
                   cu_seqlens: Array | None = None, return_final_states: bool = False, out: Array | None = None,
                   final_states: Array | None = None, stream: int | None = None) -> Array | tuple[Array, Array]:
    """For every sequence and channel d, over time l, with delta' = softplus(delta + delta_bias):

        h[n]      = exp(delta' A[d, n]) h[n] + delta' B[l, g, n] u[l, d]
        out[l, d] = (sum_n C[l, g, n] h[n] + D[d] u[l, d]) silu(z[l, d])

    u, delta, z: (batch, seqlen, dim) float32, bfloat16 or float16, any strides. A: (dim, dstate).
    B, C: (batch, seqlen, ngroups, dstate), or constant in time (dim, dstate). D, delta_bias: (dim).
    initial_states: (nseq, dim, dstate) float32; None: zeros. cu_seqlens: (nseq + 1) int32, with batch 1: where the sequences
    begin and end.

    Returns out, and with return_final_states (or final_states, the array to write them to) also the states after the last
    positions (nseq, dim, dstate) float32. nseq is batch, or with cu_seqlens the number of sequences.
    """
    out = empty(u) if out is None else out
    if return_final_states and final_states is None:
        final_states = empty(u, (number_of_sequences(u, cu_seqlens), *shape_of(A)), "float32")
    _core.ops.selective_scan(stream_of(u, stream), u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=delta_bias,
                             delta_softplus=delta_softplus, initial_states=initial_states, cu_seqlens=cu_seqlens, out=out,
                             final_states=final_states)
    return out if final_states is None else (out, final_states)


def selective_state_update(state: Array, x: Array, dt: Array, A: Array, B: Array, C: Array, D: Array | None = None,
                           z: Array | None = None, dt_bias: Array | None = None, dt_softplus: bool = False, *,
                           dt_weight: Array | None = None, out: Array | None = None, stream: int | None = None) -> Array:
    """One step of selective_scan, for generation.

    state: (batch, dim, dstate) float32 or x's dtype, advanced. x, dt, z: (batch, dim). A: (dim, dstate).
    B, C: (batch, ngroups, dstate), or (dim, dstate). D, dt_bias: (dim). dt_weight: (dim, dt_rank): then dt is
    (batch, dt_rank), and is multiplied by it. Returns (batch, dim).
    """
    out = empty(x) if out is None else out
    _core.ops.selective_state_update(stream_of(x, stream), state=state, x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias,
                                     dt_weight=dt_weight, dt_softplus=dt_softplus, out=out)
    return out
