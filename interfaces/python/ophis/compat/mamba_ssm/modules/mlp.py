from ophis.torch._mlp import GatedMLP  # noqa: F401
