from ophis.torch import causal_conv1d_varlen_states  # noqa: F401
