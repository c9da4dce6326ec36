"""What an import may load, seen in a process of its own: a script that scores images should not wait for a trainer."""

import subprocess
import sys

import pytest

HEAVY = ("lightning", "open_clip", "ultralytics", "wandb", "matplotlib", "pandas", "faster_coco_eval")
LIGHT = {
    "ivif": (*HEAVY, "torch"),
    "ivif.metrics": (*HEAVY, "torchmetrics", "torchvision", "scipy"),
}
"""Module: packages that importing it must not load."""


@pytest.mark.parametrize("module", LIGHT)
def test_an_import_loads_no_more_than_it_needs(module: str) -> None:
    script = f"import sys; import {module}; print(*sorted(set(sys.modules) & set({LIGHT[module]!r})))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []
