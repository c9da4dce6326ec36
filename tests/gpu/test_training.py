"""Tiny runs of every task on a GPU: the weights of the CPU in float32, and steps in both half precisions."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule
from torch import Tensor

from benchmarks.gpu.runs import fit
from benchmarks.gpu.tasks import TINY, tiny

pytestmark = pytest.mark.gpu

NEEDED = {"without": (), "mgfusion": ("open_clip",), "detection": ("ultralytics",)}
"""Part of a task's name -> packages; every other task needs both."""

REHEARSED = [kind for kind in TINY if kind == "mgfusion" or "without" in kind]

STEPS = {"max_epochs": -1, "max_steps": 3}


def _require(kind: str, device: torch.device, precision: str = "32-true") -> None:
    packages = next((own for key, own in NEEDED.items() if key in kind), ("open_clip", "ultralytics"))
    for package in packages:
        pytest.importorskip(package, reason=f"needs {package}, which is not installed")
    if device.type == "cpu" and (precision == "16-mixed" or kind not in REHEARSED):
        pytest.skip("a rehearsal takes some tasks, and float16 needs a GPU")


def _trained(task: LightningModule) -> Tensor:
    return torch.cat([value.detach().cpu().double().flatten() for value in task.parameters() if value.requires_grad])


@pytest.mark.parametrize("kind", TINY)
def test_a_run_ends_near_that_of_the_cpu(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    _require(kind, gpu)
    start, expected, found = (
        _trained(task)
        for task in (tiny(kind, tmp_path), fit(kind, "cpu", [], **STEPS), fit(kind, gpu.type, [], **STEPS))
    )
    moved = (expected - start).abs().mean()
    assert moved > 0
    assert (found - expected).abs().mean() < 0.2 * moved  # Adam turns rounding into whole steps where gradients are 0


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_half_precision_makes_steps(kind: str, precision: str, gpu: torch.device, tmp_path: Path) -> None:
    _require(kind, gpu, precision)
    task, start = fit(kind, gpu.type, [], precision=precision), _trained(tiny(kind, tmp_path))
    assert torch.isfinite(_trained(task)).all()
    assert (_trained(task) - start).abs().mean() > 0
    scaler = getattr(task.trainer.precision_plugin, "scaler", None)
    assert (scaler is None) == (precision != "16-mixed")
    assert scaler is None or scaler.get_scale() >= 1
