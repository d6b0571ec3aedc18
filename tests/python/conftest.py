"""Where the tests find models, and numpy's random numbers."""

from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["mamba-tiny", "mamba2-tiny"])
def model_folder(request):
    return ROOT / "examples/models" / request.param


@pytest.fixture
def rng():
    return numpy.random.default_rng(0)
