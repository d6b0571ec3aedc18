"""The Mamba-2 block as a module, with the arguments and parameter names of mamba_ssm.modules.mamba2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ophis.torch._causal_conv1d import causal_conv1d_fn, causal_conv1d_update, causal_conv1d_varlen_states
from ophis.torch._mamba import InferenceStates, initial_dt_bias
from ophis.torch._norm import RMSNormGated
from ophis.torch._selective_state_update import selective_state_update
from ophis.torch._ssd import INFINITY, mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined


class Mamba2(InferenceStates):
    """A Mamba-2 block (arXiv:2405.21060): (batch, seqlen, d_model) in and out. It is not sharded: process_group is None."""

    def __init__(self, d_model, d_state=128, d_conv=4, conv_init=None, expand=2, headdim=64, d_ssm=None, ngroups=1,
                 A_init_range=(1, 16), D_has_hdim=False, rmsnorm=True, norm_before_gate=False, dt_min=0.001, dt_max=0.1,
                 dt_init_floor=1e-4, dt_limit=(0.0, INFINITY), bias=False, conv_bias=True, chunk_size=256,
                 use_mem_eff_path=True, layer_idx=None, process_group=None, sequence_parallel=True, device=None, dtype=None):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        if process_group is not None:
            raise NotImplementedError("ophis.torch.Mamba2 is not sharded: process_group must be None")
        self.d_model, self.d_state, self.d_conv, self.conv_init, self.expand = d_model, d_state, d_conv, conv_init, expand
        self.d_inner = expand * d_model
        self.headdim, self.ngroups = headdim, ngroups
        self.d_ssm = self.d_inner if d_ssm is None else d_ssm
        assert self.d_ssm % headdim == 0
        self.nheads = self.d_ssm // headdim
        self.D_has_hdim, self.rmsnorm, self.norm_before_gate = D_has_hdim, rmsnorm, norm_before_gate
        self.dt_limit = tuple(dt_limit)  # a list, where it comes from JSON
        self.activation, self.act = "silu", nn.SiLU()
        self.chunk_size, self.use_mem_eff_path, self.layer_idx = chunk_size, use_mem_eff_path, layer_idx
        self.process_group, self.sequence_parallel = process_group, sequence_parallel

        self.in_proj = nn.Linear(d_model, 2 * self.d_inner + 2 * ngroups * d_state + self.nheads, bias=bias, **factory)
        conv_dim = self.d_ssm + 2 * ngroups * d_state
        self.conv1d = nn.Conv1d(conv_dim, conv_dim, d_conv, groups=conv_dim, padding=d_conv - 1, bias=conv_bias, **factory)
        if conv_init is not None:
            nn.init.uniform_(self.conv1d.weight, -conv_init, conv_init)
        self.dt_bias = nn.Parameter(initial_dt_bias(self.nheads, dt_min, dt_max, dt_init_floor, **factory))
        assert A_init_range[0] > 0 and A_init_range[1] >= A_init_range[0]
        A = torch.empty(self.nheads, dtype=torch.float32, device=device).uniform_(*A_init_range)
        self.A_log = nn.Parameter(A.log().to(dtype=dtype))
        self.D = nn.Parameter(torch.ones(self.d_ssm if D_has_hdim else self.nheads, device=device))
        self.dt_bias._no_weight_decay = self.A_log._no_weight_decay = self.D._no_weight_decay = True
        if rmsnorm:
            self.norm = RMSNormGated(self.d_ssm, eps=1e-5, norm_before_gate=norm_before_gate, group_size=self.d_ssm // ngroups,
                                     **factory)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias, **factory)

    def forward(self, u, seqlen=None, seq_idx=None, cu_seqlens=None, inference_params=None):
        """u: (batch, seqlen, d_model), or with seqlen (batch * seqlen, d_model). seq_idx: (batch, seqlen), the sequence of each
        position. With inference_params the states are kept there, of each of cu_seqlens' sequences, and gone on from."""
        states = None
        is_flat, seqlen = seqlen is not None, seqlen if seqlen is not None else u.shape[1]
        if inference_params is not None:
            batch = u.shape[0] // seqlen if is_flat else u.shape[0]
            states = self._get_states_from_cache(inference_params, batch if cu_seqlens is None else cu_seqlens.shape[0] - 1)
            if inference_params.seqlen_offset > 0:
                return self.step(u, *states)[0]
        zxbcdt = self.in_proj(u)
        zxbcdt = zxbcdt.unflatten(0, (-1, seqlen)) if is_flat else zxbcdt
        A = -torch.exp(self.A_log.float())
        D = self.D.unflatten(0, (-1, self.headdim)) if self.D_has_hdim else self.D
        if self.use_mem_eff_path and states is None:
            out = mamba_split_conv1d_scan_combined(
                zxbcdt, self.conv1d.weight.squeeze(1), self.conv1d.bias, self.dt_bias, A, D=D, chunk_size=self.chunk_size,
                seq_idx=seq_idx, dt_limit=self.dt_limit, activation=self.activation,
                rmsnorm_weight=self.norm.weight if self.rmsnorm else None, rmsnorm_eps=self.norm.eps if self.rmsnorm else 1e-6,
                outproj_weight=self.out_proj.weight, outproj_bias=self.out_proj.bias,
                headdim=None if self.D_has_hdim else self.headdim, ngroups=self.ngroups,
                norm_before_gate=self.norm_before_gate)
            return out.flatten(0, 1) if is_flat else out
        up, gate, z, xBC, dt = self._split(zxbcdt)
        if states is not None:
            self._remember_inputs(xBC, cu_seqlens, states[0])
        xBC = causal_conv1d_fn(xBC.transpose(1, 2), self.conv1d.weight.squeeze(1), self.conv1d.bias, seq_idx=seq_idx,
                               activation=self.activation).transpose(1, 2)
        x, B, C = self._split_convolved(xBC)
        y = mamba_chunk_scan_combined(
            x, dt, A, B, C, chunk_size=self.chunk_size, D=D, z=None if self.rmsnorm else z.unflatten(-1, (-1, self.headdim)),
            dt_bias=self.dt_bias, dt_softplus=True, seq_idx=seq_idx, cu_seqlens=cu_seqlens, dt_limit=self.dt_limit,
            return_final_states=states is not None, return_varlen_states=cu_seqlens is not None and states is not None)
        if states is not None:
            y, *last_states = y
            states[1].copy_(last_states[-1])
        out = self._project(y.flatten(-2), z, up, gate)
        return out.flatten(0, 1) if is_flat else out

    def step(self, hidden_states, conv_state, ssm_state):
        """One position, (batch, 1, d_model); the states are advanced."""
        assert hidden_states.shape[1] == 1, "Only support decoding with 1 token at a time for now"
        up, gate, z, xBC, dt = self._split(self.in_proj(hidden_states.squeeze(1)))
        xBC = causal_conv1d_update(xBC, conv_state, self.conv1d.weight.squeeze(1), self.conv1d.bias, self.activation)
        x, B, C = self._split_convolved(xBC)
        per_element = lambda tensor: tensor.unsqueeze(-1).expand(*tensor.shape, self.headdim)  # noqa: E731
        A = per_element(-torch.exp(self.A_log.float())).unsqueeze(-1).expand(-1, -1, self.d_state)
        D = self.D.unflatten(0, (-1, self.headdim)) if self.D_has_hdim else per_element(self.D)
        if self.dt_limit != (0.0, INFINITY):
            dt, dt_bias = F.softplus(dt.float() + self.dt_bias.float()).clamp(*self.dt_limit), None
        else:
            dt_bias = per_element(self.dt_bias)
        y = selective_state_update(ssm_state, x, per_element(dt), A, B, C, D,
                                   z=None if self.rmsnorm else z.unflatten(-1, (-1, self.headdim)), dt_bias=dt_bias,
                                   dt_softplus=dt_bias is not None)
        return self._project(y.flatten(-2), z, up, gate).unsqueeze(1), conv_state, ssm_state

    def _split(self, zxbcdt):
        """A gated MLP's part (gate, up), z, [x, B, C], dt."""
        conv_dim = self.d_ssm + 2 * self.ngroups * self.d_state
        d_mlp = (zxbcdt.shape[-1] - self.d_ssm - conv_dim - self.nheads) // 2
        gate, up, z, xBC, dt = torch.split(zxbcdt, [d_mlp, d_mlp, self.d_ssm, conv_dim, self.nheads], dim=-1)
        return up, gate, z, xBC, dt

    def _split_convolved(self, xBC):
        x, B, C = torch.split(xBC, [self.d_ssm, self.ngroups * self.d_state, self.ngroups * self.d_state], dim=-1)
        return (x.unflatten(-1, (-1, self.headdim)), *(each.unflatten(-1, (self.ngroups, -1)) for each in (B, C)))

    def _remember_inputs(self, xBC, cu_seqlens, conv_state):
        if cu_seqlens is None:
            conv_state.copy_(F.pad(xBC.transpose(1, 2), (self.d_conv - xBC.shape[1], 0)))
        else:
            assert xBC.shape[0] == 1, "varlen inference only supports batch dimension 1"
            conv_state.copy_(causal_conv1d_varlen_states(xBC.squeeze(0), cu_seqlens, state_len=conv_state.shape[-1]))

    def _project(self, y, z, up, gate):
        if self.rmsnorm:
            y = self.norm(y, z)
        if up.shape[-1] > 0:
            y = torch.cat([F.silu(gate) * up, y], dim=-1)
        return self.out_proj(y)

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **_):
        """The states of the convolution (batch, conv_dim, d_conv) and of the scan (batch, nheads, headdim, d_state), zeros."""
        device, conv_dim = self.out_proj.weight.device, self.conv1d.weight.shape[0]
        return (torch.zeros(batch_size, self.d_conv, conv_dim, device=device,
                            dtype=dtype or self.conv1d.weight.dtype).transpose(1, 2),
                torch.zeros(batch_size, self.nheads, self.headdim, self.d_state, device=device,
                            dtype=dtype or self.in_proj.weight.dtype))
