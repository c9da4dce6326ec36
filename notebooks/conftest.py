"""Notebooks under test use the clone that they lie in, also where another one, or none, is installed."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001 - pytest's hook
    """Says so to the kernel, which is a process of its own."""
    os.environ["PYTHONPATH"] = str(ROOT)
