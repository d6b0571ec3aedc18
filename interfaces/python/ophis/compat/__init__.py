"""Packages named mamba_ssm and causal_conv1d, made of ophis.torch, for code that imports those names.

`ophis.torch.install()` puts them in front of installed ones. A program that cannot call it takes them by its environment:
`PYTHONPATH=$(python -c 'import ophis.compat; print(ophis.compat.path)')`. Modules that they lack (mamba_ssm.modules.mamba3,
say) come from an installed mamba_ssm, if there is one.
"""

from pathlib import Path

path = str(Path(__file__).resolve().parent)
"""The folder that holds the packages."""
