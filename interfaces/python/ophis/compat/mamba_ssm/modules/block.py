from ophis.torch._language_model import Block  # noqa: F401
