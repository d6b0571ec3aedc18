from ophis.torch import Mamba  # noqa: F401
