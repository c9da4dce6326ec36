"""What is only measured leaves a run as it is, bit for bit: weights, statistics, optimisers, random numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from ivif.bilevel import SCHEMES, BilevelConfig
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.callbacks.memory_guard import MemoryGuard
from ivif.callbacks.throughput import Throughput
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.models.layers.quantizer import VectorQuantizer
from ivif.testing.batches import quiet_trainer
from tests.lightning_modules.accumulated import UnevenScenes, make_task
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

BY_STEPS = BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1)


def _end_of_run(task: BilevelTask, folder: Path, callbacks: list[Callback]) -> dict[str, Any]:
    torch.manual_seed(0)
    trainer = quiet_trainer(folder, max_epochs=2, limit_val_batches=0, callbacks=callbacks)
    trainer.fit(task, UnevenScenes(2, 4))
    moments = [
        value.clone()
        for optimizer in trainer.optimizers
        for state in optimizer.state.values()
        for value in state.values()
    ]
    states = {**task.state_dict(), "random": torch.get_rng_state()}
    return states | {f"moment {number}": value for number, value in enumerate(moments)}


def _difference(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    assert set(first) == set(second)
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_angle_between_levels_changes_nothing(scheme: str, tmp_path: Path) -> None:
    ends = []
    for every in (0, 1):
        torch.manual_seed(0)
        config = replace(BY_STEPS, scheme=scheme, cosine_every=every)
        task = TinyBilevelTask(config)
        ends.append(_end_of_run(task, tmp_path, []))
        assert ("bilevel/gradient_cosine" in task.diagnostics) == bool(every)
    assert _difference(*ends) == []


@pytest.mark.parametrize("kind", ["text_to_pixels joint", "promptfusion bilevel"])
def test_everything_that_measures_changes_nothing(kind: str, tmp_path: Path) -> None:
    """The angle, gradient norms, diagnostics, throughput and the memory estimate together."""
    plain, measured = make_task(kind), make_task(kind)
    assert isinstance(plain, BilevelTask)
    assert isinstance(measured, BilevelTask)
    for module in (*plain.modules(), *measured.modules()):
        if isinstance(module, VectorQuantizer):
            module.started.fill_(False)  # to be set by k-means at the first step, not at the measurement before it
    expected = _end_of_run(plain, tmp_path, [])
    measured.bilevel_config = replace(measured.bilevel_config, cosine_every=1)
    callbacks = [MemoryGuard(), GradientNorms(), DiagnosticsLogger(), Throughput()]
    assert _difference(expected, _end_of_run(measured, tmp_path, callbacks)) == []
    assert "bilevel/gradient_cosine" in measured.diagnostics


def test_a_value_network_that_starts_again_has_no_moments_of_its_past(tmp_path: Path) -> None:
    """Its next step is Adam's first one: as long as the learning rate, whatever went before."""
    torch.manual_seed(0)
    task = TinyBilevelTask(replace(BY_STEPS, scheme="value_function"))
    quiet_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(task, UnevenScenes(2, 4))
    optimizer = task._optimizers["value"].optimizer
    assert any(float(state["exp_avg"].norm()) > 0 for state in optimizer.state.values())
    task._synchronise()
    assert not optimizer.state
    assert task.value is not None
    for mine, theirs in zip(task.value.parameters(), task.fusion.parameters(), strict=True):
        assert torch.equal(mine, theirs)
