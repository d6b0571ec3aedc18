from ophis.torch import selective_state_update  # noqa: F401
