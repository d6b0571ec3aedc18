#!/usr/bin/env python3
"""Runs the test suites of causal-conv1d and mamba-ssm against ophis.torch.

    bench/peers/fetch.sh build/peers
    python tests/python/run_upstream.py build/peers [--sample 300] [--device cpu] [arguments of pytest]

The suites are read from the fetched sources, and from GitHub where it is reached those that the sources lack. Nothing of
them is kept: copies whose device is replaced lie in a temporary folder. What the shim packages lack (reference functions,
Mamba-3) comes from the fetched packages, whose compiled extensions are not needed. Needs einops and huggingface_hub.
"""

import argparse
import importlib.util
import os
import random
import re
import shutil
import sys
import tempfile
import types
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = "https://raw.githubusercontent.com/state-spaces/mamba/v2.3.2/tests/"
ONLY_IN_REPOSITORY = ["ops/test_selective_scan.py", "ops/triton/test_layernorm_gated.py",
                      "ops/triton/test_selective_state_update.py", "ops/triton/test_ssd.py"]
COMPILED = ["selective_scan_cuda", "causal_conv1d_cuda", "causal_conv1d.cpp_functions"]
SHIMS = ["causal_conv1d.causal_conv1d_interface", "causal_conv1d.causal_conv1d_varlen",
         "mamba_ssm.ops.selective_scan_interface", "mamba_ssm.ops.triton.layer_norm", "mamba_ssm.ops.triton.layernorm_gated",
         "mamba_ssm.ops.triton.selective_state_update", "mamba_ssm.ops.triton.ssd_combined"]


class Anything(types.ModuleType):
    """Stands in for a compiled extension: every function is there, and none is called."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def fetch_missing(folder):
    for name in ONLY_IN_REPOSITORY:
        path = folder / "mamba-ssm/tests" / name
        if path.exists():
            continue
        try:
            with urllib.request.urlopen(REPOSITORY + name, timeout=10) as response:
                content = response.read()
        except OSError as error:
            print(f"not fetched: {name}: {error}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def copy_suites(folder, to, device):
    for package in ("causal-conv1d", "mamba-ssm"):
        for path in sorted((folder / package / "tests").rglob("test_*.py")):
            text = re.sub(r"""(["'])cuda\1""", f'"{device}"', path.read_text())
            if device == "cpu":  # which takes its time
                text = text.replace("range(10000)", "range(10)")
            target = to / package / path.relative_to(folder / package / "tests")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


def load(path):
    """Upstream's module, for which names that the shims lack are None."""
    spec = importlib.util.spec_from_file_location(f"upstream_{path.stem}", path)
    while True:
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            return module
        except ImportError as error:
            missing = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
            if not missing:
                raise
            setattr(sys.modules[missing[2]], missing[1], None)


def lend_references(folder):
    """Puts what upstream's modules have and the shims lack into the shims."""
    for name in COMPILED:
        sys.modules[name] = Anything(name)
    for name in SHIMS:
        shim = importlib.import_module(name)
        package = "causal-conv1d" if name.startswith("causal") else "mamba-ssm"
        path = folder / package / (name.replace(".", "/") + ".py")
        try:
            module = load(path)
        except Exception as error:  # a module of kernels that this machine cannot even load
            print(f"no references from {name}: {error}")
            continue
        for attribute, value in vars(module).items():
            if attribute.endswith("_ref") and not hasattr(shim, attribute):
                setattr(shim, attribute, value)


class Sample:
    """Keeps a random choice of a parametrised test's cases, the same each time."""

    def __init__(self, size):
        self.size = size

    def pytest_collection_modifyitems(self, items):
        functions = {}
        for item in items:
            functions.setdefault((item.path, item.originalname), []).append(item)
        chosen = []
        for cases in functions.values():
            chosen += cases if not self.size or len(cases) <= self.size else random.Random(0).sample(cases, self.size)
        print(f"\n{len(chosen)} of {len(items)} cases")
        items[:] = chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sample", type=int, default=0, help="cases of each test; 0: all")
    options, rest = parser.parse_known_args()
    folder = options.folder.resolve()

    import ophis.torch
    import torch

    fetch_missing(folder)
    sys.path += [str(folder / "mamba-ssm"), str(folder / "causal-conv1d")]
    ophis.torch.install()
    lend_references(folder)
    if options.device == "cpu":
        torch.cuda.synchronize = lambda *_: None
    to = Path(tempfile.mkdtemp(prefix="ophis-upstream-"))
    try:
        copy_suites(folder, to, options.device)
        os.chdir(to)
        return pytest.main(["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--continue-on-collection-errors",
                            *rest, "."], plugins=[Sample(options.sample)])
    finally:
        shutil.rmtree(to, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
