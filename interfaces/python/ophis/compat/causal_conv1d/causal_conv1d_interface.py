from ophis.torch import causal_conv1d_fn, causal_conv1d_update  # noqa: F401
