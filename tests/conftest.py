"""What every test runs with."""

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch starts its threads: tests work on tiny tensors, where a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ["IVIF_PLUGINS"] = "tests"  # callbacks of tests/cluster are named on command lines

import lightning.pytorch  # noqa: F401 - here, so that its log handler does not keep one test's captured stream
import pytest
import torch

from tests.real_data import REAL_DATA

torch.set_num_threads(1)
for library in ("lightning.fabric", "lightning.pytorch"):  # pytest 8 has no handler yet: they keep to themselves
    logging.getLogger(library).propagate = True

CLEAN = dict(os.environ)
"""The environment that every test begins with."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps the tests of a file on one worker, for its fixtures, and those that share the pretend device's process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/pretend_gpu" if file.startswith("tests/pretend_gpu/") else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    """Run folders, ranks and ports are handed on through the environment: tests must not hand theirs on."""
    _restore()
    yield
    _restore()  # fixtures of a module are set up before this one of the next test


def _restore() -> None:
    for name in {*os.environ} - {*CLEAN, "PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(CLEAN)


@pytest.fixture(autouse=True, scope="module")
def _freed_memory_goes_back() -> Iterator[None]:
    """What runs in this process keeps freed memory for its next tensor (`ivif.machine.allocator`); the next file's
    tests, and those of the other workers, need it more."""
    yield
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc alone has it
    if trim is not None:
        trim(0)


@pytest.fixture
def real_data() -> Path:
    """The folder of real pairs; skips where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real image pairs at {REAL_DATA} (set IVIF_REAL_DATA)")
    return REAL_DATA
