"""Notebooks under test use the clone that they lie in, also where another one, or none, is installed."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICK = "01_look_at_a_dataset.ipynb"
"""The notebook that is always run; the others are `slow`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the notebooks that take their time."""
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.name != QUICK:
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001 - pytest's hook
    """Says so to the kernel, which is a process of its own."""
    os.environ["PYTHONPATH"] = str(ROOT)
