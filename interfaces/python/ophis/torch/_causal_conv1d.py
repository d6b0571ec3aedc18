"""The short convolution, as causal_conv1d has it."""

from __future__ import annotations

import torch
from torch import Tensor

from ophis import _core
from ophis.torch import _formulas
from ophis.torch._library import call, cast, common_dtype, define, empty_channels, gradients_by


def _kernel(x, weight, bias, seq_idx, initial_states, return_final_states, activation):
    dtype = common_dtype(x)
    out = empty_channels(x, dtype)
    final_states = _final_states(x, weight, return_final_states)
    call(_core.ops.causal_conv1d, out.transpose(1, 2), x=x.transpose(1, 2), weight=weight, bias=bias,
         seq_idx=cast(seq_idx, torch.int32), initial_states=cast(initial_states, dtype),
         activation=activation, final_states=final_states if return_final_states else None)
    return out, final_states


def _final_states(x: Tensor, weight: Tensor, wanted: bool) -> Tensor:
    batch, dim, width = x.shape[0], *weight.shape
    return x.new_empty_strided((batch, dim, width - 1), ((width - 1) * dim, 1, dim)) if wanted else x.new_empty(0)


def _fake(x, weight, bias, seq_idx, initial_states, return_final_states, activation):
    return empty_channels(x), _final_states(x, weight, return_final_states)


_causal_conv1d = define(
    "causal_conv1d(Tensor x, Tensor weight, Tensor? bias, Tensor? seq_idx, Tensor? initial_states, "
    "bool return_final_states, str activation) -> (Tensor, Tensor)",
    _kernel, _fake, *gradients_by(_formulas.causal_conv1d, num_outputs=2))


def _update_kernel(x, conv_state, weight, bias, activation):
    dtype = common_dtype(x)
    out = x.new_empty(x.shape, dtype=dtype)
    state = cast(conv_state, dtype)
    call(_core.ops.causal_conv1d_update, out, x=x, conv_state=state, weight=weight, bias=bias,
         activation=activation)
    if state is not conv_state:
        conv_state.copy_(state)
    return out


_causal_conv1d_update = define(
    "causal_conv1d_update(Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, str activation) -> Tensor",
    _update_kernel, lambda x, conv_state, weight, bias, activation: x.new_empty(x.shape))


def _name_of(activation: str | None) -> str:
    if activation is not None and activation not in _formulas.ACTIVATIONS:
        raise NotImplementedError(f"activation must be None, {', '.join(_formulas.ACTIVATIONS)}, and is {activation!r}")
    return activation or "identity"


def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False,
                     final_states_out=None, activation=None):
    """The convolution of ophis.ops.causal_conv1d in causal_conv1d's layout.

    x: (batch, dim, seqlen). weight: (dim, width). bias: (dim). seq_idx: (batch, seqlen), the sequence of each position.
    initial_states, final_states_out: (batch, dim, width - 1); the latter is written to. activation: None, "silu" or
    "swish", and besides "gelu", "gelu_pytorch_tanh", "relu", "sigmoid" and "tanh".

    Returns out (batch, dim, seqlen), and with return_final_states also the last inputs.
    """
    out, final_states = _causal_conv1d(x, weight, bias, seq_idx, initial_states, return_final_states, _name_of(activation))
    if not return_final_states:
        return out
    if final_states_out is not None:
        final_states = final_states_out.copy_(final_states)
    return out, final_states


def causal_conv1d_update(x, conv_state, weight, bias=None, activation=None, cache_seqlens=None, conv_state_indices=None):
    """Further steps of the convolution, for generation.

    x: (batch, dim) or (batch, dim, seqlen). conv_state: (batch, dim, state_len), state_len >= width - 1, the latest
    inputs, which x is shifted into. cache_seqlens: (batch) int32: conv_state is then a ring buffer, where x goes from
    cache_seqlens % state_len on. conv_state_indices: (batch) int32: the rows of a larger conv_state that belong to x; of
    a negative one out is zero.

    Returns out, of the shape of x.
    """
    name = _name_of(activation)
    if conv_state_indices is not None:
        is_used = conv_state_indices >= 0
        rows = conv_state_indices.long()
        states = conv_state[rows.clamp(min=0)]
        out = causal_conv1d_update(x, states, weight, bias, activation, cache_seqlens)
        conv_state[rows[is_used]] = states[is_used]
        return out.masked_fill(~is_used.view(-1, *[1] * (out.dim() - 1)), 0)
    if cache_seqlens is not None:
        return _ring_update(x, conv_state, weight, bias, activation, cache_seqlens)
    if x.dim() == 2:
        return _causal_conv1d_update(x, conv_state, weight, bias, name)
    if x.shape[-1] == 1:
        return _causal_conv1d_update(x.squeeze(-1), conv_state, weight, bias, name).unsqueeze(-1)
    width, state_len = weight.shape[1], conv_state.shape[-1]
    out = causal_conv1d_fn(x, weight, bias, initial_states=conv_state[..., state_len - (width - 1):], activation=activation)
    conv_state.copy_(torch.cat([conv_state, x.to(conv_state.dtype)], dim=-1)[..., -state_len:])
    return out


def _ring_update(x: Tensor, conv_state: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None,
                 cache_seqlens: Tensor) -> Tensor:
    tokens = x.unsqueeze(-1) if x.dim() == 2 else x
    (_, dim, seqlen), width, state_len = tokens.shape, weight.shape[1], conv_state.shape[-1]
    at = lambda begin, end: torch.remainder(  # noqa: E731
        torch.arange(begin, end, device=x.device) + cache_seqlens.long()[:, None], state_len)[:, None].expand(-1, dim, -1)
    before = conv_state.gather(2, at(-(width - 1), 0))
    out = causal_conv1d_fn(tokens, weight, bias, initial_states=before, activation=activation)
    conv_state.scatter_(2, at(0, seqlen), tokens.to(conv_state.dtype))
    return out.squeeze(-1) if x.dim() == 2 else out


def causal_conv1d_varlen_states(x, cu_seqlens, state_len):
    """The last state_len inputs of each of several sequences in a row, zeros in front of the shorter ones.

    x: (total_tokens, dim). cu_seqlens: (batch + 1). Returns (batch, dim, state_len).
    """
    ends = cu_seqlens[1:].long()
    starts = torch.maximum(cu_seqlens[:-1].long(), ends - state_len)
    positions = ends[:, None] + torch.arange(-state_len, 0, device=x.device)  # (batch, state_len)
    states = x[positions.clamp(min=0)] * (positions >= starts[:, None])[..., None].to(x.dtype)
    return states.transpose(1, 2)
