"""The attention layers of mamba_ssm's hybrid models, with the arguments and parameter names of mamba_ssm.modules.mha."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ophis.torch._causal_conv1d import causal_conv1d_fn, causal_conv1d_update


class RotaryEmbedding(nn.Module):
    """Turns pairs of the first `dim` elements of each head by angles that grow with the position (arXiv:2104.09864): elements
    i and i + dim / 2 are a pair, or with `interleaved` 2 i and 2 i + 1."""

    def __init__(self, dim, base=10000.0, interleaved=False, device=None):
        super().__init__()
        self.dim, self.interleaved = dim, interleaved
        exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
        self.register_buffer("inv_freq", base**-exponents, persistent=False)

    def forward(self, x: Tensor, offset: int) -> Tensor:
        """x: (batch, seqlen, heads, head_dim), whose first position is `offset`."""
        positions = torch.arange(offset, offset + x.shape[1], dtype=torch.float32, device=x.device)
        angles = torch.outer(positions, self.inv_freq.float()).unsqueeze(1)
        cos, sin = angles.cos(), angles.sin()
        turned, rest = x[..., :self.dim].float(), x[..., self.dim:]
        one, other = (turned[..., 0::2], turned[..., 1::2]) if self.interleaved else turned.chunk(2, dim=-1)
        pair = (one * cos - other * sin, one * sin + other * cos)
        turned = torch.stack(pair, dim=-1).flatten(-2) if self.interleaved else torch.cat(pair, dim=-1)
        return torch.cat([turned.to(x.dtype), rest], dim=-1)


class MHA(nn.Module):
    """Self-attention of num_heads queries and num_heads_kv keys and values, by torch: (batch, seqlen, embed_dim) in and out.

    d_conv: the width of a causal convolution over [q, k, v], 0: none. mlp_dim: of a gated MLP beside the attention, 0: none.
    All sequences of a batch are at one position, inference_params.seqlen_offset.
    """

    def __init__(self, embed_dim, num_heads, num_heads_kv=None, head_dim=None, mlp_dim=0, qkv_proj_bias=True,
                 out_proj_bias=True, softmax_scale=None, causal=False, layer_idx=None, d_conv=0, rotary_emb_dim=0,
                 rotary_emb_base=10000.0, rotary_emb_interleaved=False, device=None, dtype=None):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        self.embed_dim, self.layer_idx, self.d_conv = embed_dim, layer_idx, d_conv
        self.rotary_emb_dim, self.softmax_scale, self.causal = rotary_emb_dim, softmax_scale, causal
        self.num_heads, self.num_heads_kv = num_heads, num_heads if num_heads_kv is None else num_heads_kv
        assert num_heads % self.num_heads_kv == 0, "num_heads must be divisible by num_heads_kv"
        assert head_dim is not None or embed_dim % num_heads == 0, "embed_dim must be divisible by num_heads"
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        self.mlp_dim = -(-mlp_dim // 256) * 256
        qkv_dim = self.head_dim * (num_heads + 2 * self.num_heads_kv)
        if rotary_emb_dim > 0:
            self.rotary_emb = RotaryEmbedding(rotary_emb_dim, rotary_emb_base, rotary_emb_interleaved, device)
        self.in_proj = nn.Linear(embed_dim, qkv_dim + self.mlp_dim, bias=qkv_proj_bias, **factory)
        if d_conv > 0:
            self.conv1d = nn.Conv1d(qkv_dim, qkv_dim, d_conv, groups=qkv_dim, padding=d_conv - 1, **factory)
        self.out_proj = nn.Linear(self.head_dim * num_heads + self.mlp_dim // 2, embed_dim, bias=out_proj_bias, **factory)

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **_):
        """Keys and values (batch, max_seqlen, 2, num_heads_kv, head_dim), and the last inputs of the convolution
        (batch, qkv_dim, d_conv), or None."""
        weight = self.out_proj.weight
        factory = {"device": weight.device, "dtype": weight.dtype if dtype is None else dtype}
        kv_cache = torch.empty(batch_size, max_seqlen, 2, self.num_heads_kv, self.head_dim, **factory)
        return kv_cache, torch.zeros(batch_size, self.conv1d.weight.shape[0], self.d_conv, **factory) if self.d_conv else None

    def forward(self, x, inference_params=None):
        """x: (batch, seqlen, embed_dim). With inference_params keys and values are kept there, and those before are looked at."""
        offset, states = 0, (None, None)
        if inference_params is not None:
            offset, memory = inference_params.seqlen_offset, inference_params.key_value_memory_dict
            if self.layer_idx not in memory:
                memory[self.layer_idx] = self.allocate_inference_cache(x.shape[0], inference_params.max_seqlen, x.dtype)
            states = memory[self.layer_idx]
        qkv = self.in_proj(x)
        qkv, up, gate = qkv.split([qkv.shape[-1] - self.mlp_dim, self.mlp_dim // 2, self.mlp_dim // 2], dim=-1)
        if self.d_conv > 0:
            qkv = self._convolve(qkv, states[1], offset)
        count = self.num_heads * self.head_dim
        q = qkv[..., :count].unflatten(-1, (-1, self.head_dim))
        k, v = qkv[..., count:].unflatten(-1, (2, -1, self.head_dim)).unbind(dim=-3)
        if self.rotary_emb_dim > 0:
            q, k = self.rotary_emb(q, offset), self.rotary_emb(k, offset)
        if states[0] is not None:
            end = offset + k.shape[1]
            assert end <= states[0].shape[1], f"position {end - 1} is beyond the cache of {states[0].shape[1]} positions"
            kept = states[0][:x.shape[0]]
            kept[:, offset:end] = torch.stack([k, v], dim=2)
            k, v = kept[:, :end].unbind(dim=2)
        y = self._attend(q, k, v).flatten(-2)
        return self.out_proj(torch.cat([y, up * F.silu(gate)], dim=-1) if self.mlp_dim > 0 else y)

    def _convolve(self, qkv, state, offset):
        weight = self.conv1d.weight.squeeze(1)
        if offset > 0:
            assert qkv.shape[1] == 1, "Only support decoding with 1 token at a time for now"
            return causal_conv1d_update(qkv.squeeze(1), state, weight, self.conv1d.bias).unsqueeze(1)
        if state is not None:
            state.copy_(F.pad(qkv.transpose(1, 2), (self.d_conv - qkv.shape[1], 0)))
        return causal_conv1d_fn(qkv.transpose(1, 2), weight, self.conv1d.bias).transpose(1, 2)

    def _attend(self, q, k, v):
        """q: (batch, queries, num_heads, head_dim); k, v: (batch, keys, num_heads_kv, head_dim), of which the last are at the
        queries' positions."""
        queries, keys = q.shape[1], k.shape[1]
        mask = None
        if self.causal and 1 < queries < keys:
            mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
        k, v = (each.repeat_interleave(self.num_heads // self.num_heads_kv, dim=2).transpose(1, 2) for each in (k, v))
        return F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=mask, scale=self.softmax_scale,
                                              is_causal=self.causal and queries == keys).transpose(1, 2)
