"""Float16 with several optimisers along one backward pass, and steps that its scaler leaves out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from ivif.bilevel import BilevelConfig
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.non_finite import OVERFLOWED
from ivif.testing.batches import quiet_trainer
from tests.lightning_modules.accumulated import Gradients, UnevenScenes, make_task
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

BY_STEPS = {"unit": "step", "warmup": 0, "lower_steps": 1, "value_steps": 1}


def _fit(task: FusionTask, folder: Path, scaler: torch.amp.GradScaler | None, steps: int = 1) -> dict[str, Tensor]:
    """Gradient of each level at its last step. The networks compute in single precision; only losses are scaled."""
    gradients = Gradients()
    plugins = [] if scaler is None else [_OnlyScaled("16-mixed", "cpu", scaler)]
    options: dict[str, Any] = {"max_epochs": steps, "limit_val_batches": 0, "callbacks": [gradients]}
    quiet_trainer(folder, plugins=plugins, **options).fit(task, UnevenScenes(6))
    return dict(gradients.seen)


class _OnlyScaled(MixedPrecision):
    """Scales, and leaves precision as it is: gradients can then be compared with those that were not scaled."""

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)


def _overflow(gradient: Tensor) -> Tensor:
    return gradient * torch.inf


def _tiny(scheme: str) -> TinyBilevelTask:
    torch.manual_seed(0)
    return TinyBilevelTask(BilevelConfig(scheme=scheme, **BY_STEPS))  # type: ignore[arg-type]


def _scaler(growth_interval: int = 1000) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=growth_interval)


@pytest.mark.parametrize(("scheme", "descents"), [("joint", 1), ("value_function", 2)])
def test_all_levels_of_a_backward_pass_are_unscaled_by_one_factor(scheme: str, descents: int, tmp_path: Path) -> None:
    plain = _fit(_tiny(scheme), tmp_path, None)
    scaler = _scaler(growth_interval=1)
    scaled = _fit(_tiny(scheme), tmp_path, scaler)
    assert {"lower", "upper"} <= set(plain)
    for level, expected in plain.items():
        torch.testing.assert_close(scaled[level], expected, rtol=1e-4, atol=1e-6)
    assert scaler.get_scale() == 256.0 * 2**descents  # the value function: z by itself, then y and x along one gradient


def test_a_level_that_overflows_is_left_out_alone_and_counted(tmp_path: Path) -> None:
    expected = _fit(_tiny("joint"), tmp_path, None)["upper"]
    task, scaler = _tiny("joint"), _scaler()
    weight = task.fusion.get_parameter("0.weight")
    weight.register_hook(_overflow)  # type: ignore[no-untyped-call]
    before = weight.detach().clone()
    seen = _fit(task, tmp_path, scaler)
    torch.testing.assert_close(seen["upper"], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(weight, before)
    assert task.steps == ["upper"]
    assert scaler.get_scale() == 128.0
    assert float(task.diagnostics[f"lower/{OVERFLOWED}"]) == 1
    assert f"upper/{OVERFLOWED}" not in task.diagnostics


def test_an_average_takes_no_step_that_was_left_out(tmp_path: Path) -> None:
    task = make_task("detection yolov5n")
    assert isinstance(task, DetectionTask)
    assert task.part.average is not None
    weight = task.part.detector.get_parameter("model.model.0.conv.weight")
    hook = weight.register_hook(_overflow)  # type: ignore[no-untyped-call]
    _fit(task, tmp_path, _scaler())
    assert int(task.part.average.n_averaged) == 0
    assert float(task.diagnostics[OVERFLOWED]) == 1
    hook.remove()
    _fit(task, tmp_path, _scaler())
    assert int(task.part.average.n_averaged) == 1
    assert float(task.diagnostics[OVERFLOWED]) == 1
