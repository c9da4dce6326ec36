"""A GPU for the tests of this folder; `scripts/gpu_check.sh --rehearse` runs them with the CPU in its place."""

import os
import time
from collections.abc import Iterator

import pytest
import torch

from benchmarks.gpu.tested import END, REHEARSAL


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begins no test for which the GPU check has no time left."""
    if time.monotonic() > float(os.environ.get(END, "inf")):
        pytest.skip("no time was left")


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    """The device, which computes in full float32; skips where there is none."""
    present = torch.cuda.is_available()
    if not present and os.environ.get(REHEARSAL) != "1":
        pytest.skip("no CUDA device")
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield torch.device("cuda" if present else "cpu")
