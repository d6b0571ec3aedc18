from ophis.torch import MambaConfig  # noqa: F401
