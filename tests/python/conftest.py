"""Where the tests find models, and numpy's random numbers.

With OPHIS_TEST_DEVICE=cuda the tests of ophis.torch work on tensors of that device.
"""

import os
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]

if "OPHIS_TEST_DEVICE" in os.environ:
    import torch

    torch.set_default_device(os.environ["OPHIS_TEST_DEVICE"])
    torch.backends.cudnn.allow_tf32 = False  # what the results are compared with


@pytest.fixture(params=["mamba-tiny", "mamba2-tiny"])
def model_folder(request):
    return ROOT / "examples/models" / request.param


@pytest.fixture
def rng():
    return numpy.random.default_rng(0)
