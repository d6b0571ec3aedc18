"""mamba_ssm by ophis.torch."""

from pkgutil import extend_path

__version__ = "2.3.2"
__path__ = extend_path(__path__, __name__)

from ophis.torch import Mamba, Mamba2, MambaLMHeadModel, mamba_inner_fn, selective_scan_fn  # noqa: E402, F401
