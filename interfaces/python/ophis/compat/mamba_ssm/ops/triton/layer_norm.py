from ophis.torch import RMSNorm, layer_norm_fn, layer_norm_linear_fn, rms_norm_fn  # noqa: F401
