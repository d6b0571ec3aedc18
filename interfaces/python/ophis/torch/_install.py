"""Makes transformers, and code written for mamba_ssm and causal_conv1d, use the functions of ophis.torch."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import sys
from types import ModuleType
from typing import Any, Callable

from ophis import compat

_PACKAGES = ("mamba_ssm", "causal_conv1d")
_undo: list[Callable[[], None]] = []


def install() -> None:
    """From now on `import mamba_ssm` and `import causal_conv1d` give the packages of ophis.compat, and models of transformers
    (Mamba, Mamba-2 and others that call these kernels) use their functions on every device.

    Models that are there already are changed too; what was imported from an installed mamba_ssm before is not.
    """
    uninstall()
    import ophis.torch as functions

    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]
    sys.path.insert(0, compat.path)
    importlib.invalidate_caches()
    _undo.append(lambda: sys.path.remove(compat.path))
    for module in _transformers_modules():
        _patch_decorated(module, functions)
        _patch_guarded(module, functions)


def uninstall() -> None:
    """Takes back what install() did. Models loaded by transformers meanwhile keep the functions that they found."""
    while _undo:
        _undo.pop()()
    for name in [name for name, module in sys.modules.items()
                 if name.partition(".")[0] in _PACKAGES and (getattr(module, "__file__", None) or "").startswith(compat.path)]:
        del sys.modules[name]


def _transformers_modules() -> list[ModuleType]:
    """The modules of models that are loaded. Before transformers 5 modules look at the GPU alone when they are loaded, so that
    those of Mamba are loaded to be changed."""
    try:
        is_old = int(importlib.metadata.version("transformers").partition(".")[0]) < 5
    except importlib.metadata.PackageNotFoundError:
        return []
    if is_old:
        for name in ("mamba", "mamba2"):
            importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    return [module for name, module in list(sys.modules.items())
            if name.startswith("transformers.models.") and ".modeling_" in name]


def _set(owner: Any, name: str, value: Any) -> None:
    old = getattr(owner, name)
    _undo.append(lambda: setattr(owner, name, old))
    setattr(owner, name, value)


def _patch_decorated(module: ModuleType, functions: ModuleType) -> None:
    """transformers >= 5: functions that keep what they found when they were decorated, or their own torch code."""
    for function in vars(module).values():
        if not inspect.isfunction(function) or function.__closure__ is None:
            continue
        cells = dict(zip(function.__code__.co_freevars, function.__closure__))
        if not {"func_name", "package", "implementation", "is_new_implementation", "applicable_params"} <= cells.keys():
            continue
        ours = getattr(functions, cells["func_name"].cell_contents, None)
        if ours is not None and cells["package"].cell_contents in _PACKAGES:
            _set(cells["implementation"], "cell_contents", ours)
            _set(cells["is_new_implementation"], "cell_contents", True)
            _set(cells["applicable_params"], "cell_contents", tuple(inspect.signature(ours).parameters))


def _patch_guarded(module: ModuleType, functions: ModuleType) -> None:
    """transformers 4: functions that are None without a GPU, and a forward that asks for one."""
    mixers = [value for value in vars(module).values()
              if inspect.isclass(value) and value.__module__ == module.__name__ and "cuda_kernels_forward" in vars(value)]
    if not mixers:
        return
    for name in ("selective_scan_fn", "mamba_inner_fn", "selective_state_update", "mamba_chunk_scan_combined",
                 "mamba_split_conv1d_scan_combined", "causal_conv1d_fn", "causal_conv1d_update"):
        if hasattr(module, name):
            _set(module, name, getattr(functions, name))
    if hasattr(module, "_causal_conv1d_cache"):
        _set(module, "_causal_conv1d_cache", (functions.causal_conv1d_update, functions.causal_conv1d_fn))
    if hasattr(module, "is_fast_path_available"):
        _set(module, "is_fast_path_available", True)
    for mixer in mixers:
        _set(mixer, "forward", functools.wraps(mixer.forward)(_fast_forward))


def _fast_forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
    return self.cuda_kernels_forward(*arguments, **keywords)
