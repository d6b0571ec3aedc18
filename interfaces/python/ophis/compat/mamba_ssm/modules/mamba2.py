from ophis.torch import Mamba2  # noqa: F401
