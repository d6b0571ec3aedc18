from ophis.torch._attention import MHA  # noqa: F401
