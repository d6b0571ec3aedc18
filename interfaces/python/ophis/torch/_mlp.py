"""The gated MLP that mamba_ssm's models may have behind a block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn


class GatedMLP(nn.Module):
    """fc2(up * activation(gate)) with [up, gate] = fc1(x)."""

    def __init__(self, in_features, hidden_features=None, out_features=None, activation=F.silu, bias=False, multiple_of=128,
                 device=None, dtype=None):
        super().__init__()
        hidden_features = int(8 * in_features / 3) if hidden_features is None else hidden_features
        hidden_features = -(-hidden_features // multiple_of) * multiple_of
        out_features = in_features if out_features is None else out_features
        self.fc1 = nn.Linear(in_features, 2 * hidden_features, bias=bias, device=device, dtype=dtype)
        self.activation = activation
        self.fc2 = nn.Linear(hidden_features, out_features, bias=bias, device=device, dtype=dtype)

    def forward(self, x):
        up, gate = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(up * self.activation(gate))
