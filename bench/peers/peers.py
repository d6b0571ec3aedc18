"""The peers: mamba_ssm and causal_conv1d from their sources, of which only what is measured is compiled.

Needs PyTorch with CUDA, its compiler and the folder that fetch.sh makes.
"""

import os
import sys
import types
from pathlib import Path

from torch.utils import cpp_extension

NVCC_FLAGS = ["-O3", "-std=c++20", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda"] + [
    f"-U__CUDA_NO_{name}__"
    for name in (
        "HALF_OPERATORS",
        "HALF_CONVERSIONS",
        "BFLOAT16_OPERATORS",
        "BFLOAT16_CONVERSIONS",
        "BFLOAT162_OPERATORS",
        "BFLOAT162_CONVERSIONS",
    )
]


def _build(name: str, folder: Path, sources: list[str]) -> None:
    """Compiles an extension module; functions of sources left out stay undefined, and are never called."""
    sys.modules[name] = cpp_extension.load(
        name,
        [str(folder / source) for source in sources],
        extra_cuda_cflags=NVCC_FLAGS,
        extra_ldflags=["-Wl,-z,lazy"],
    )


def load(folder: Path) -> None:
    """Makes `import mamba_ssm` and `import causal_conv1d` work."""
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "9.0")
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_LAZY)
    _build(
        "causal_conv1d_cuda",
        folder / "causal-conv1d" / "csrc",
        ["causal_conv1d.cpp", "causal_conv1d_fwd.cu", "causal_conv1d_update.cu"],
    )
    _build(
        "selective_scan_cuda",
        folder / "mamba-ssm" / "csrc" / "selective_scan",
        ["selective_scan.cpp", "selective_scan_fwd_bf16.cu"],
    )
    sys.setdlopenflags(flags)
    sys.path.insert(0, str(folder / "causal-conv1d"))
    # The packages' own __init__ imports every model, and with them much that is not measured.
    package = types.ModuleType("mamba_ssm")
    package.__path__ = [str(folder / "mamba-ssm" / "mamba_ssm")]
    sys.modules["mamba_ssm"] = package
    mamba3 = types.ModuleType("mamba_ssm.modules.mamba3")
    mamba3.Mamba3 = object
    sys.modules["mamba_ssm.modules.mamba3"] = mamba3
