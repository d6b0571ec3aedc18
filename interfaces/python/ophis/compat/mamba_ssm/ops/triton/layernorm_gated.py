from ophis.torch import LayerNormGated as LayerNorm  # noqa: F401
from ophis.torch import RMSNormGated as RMSNorm  # noqa: F401
from ophis.torch import layernorm_fn, rmsnorm_fn  # noqa: F401
