"""Trainer options that a task does differently are refused with what does it."""

from pathlib import Path
from typing import Any

import pytest

from ivif.commands.cli import main
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.testing.configurations import SHORT
from tests.commands.runs import tiny_run
from tests.configs.test_configs import TEXT_TO_PIXELS

BILEVEL = ("fit", "--config=text_to_pixels.yaml", "--model.init_args.clip=random-tiny", *SHORT, *TEXT_TO_PIXELS)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("--trainer.accumulate_grad_batches=2", "--model.bilevel.accumulate 2"),
        ("--trainer.gradient_clip_val=0.5", "--model.lower.optimizer.gradient_clip 0.5"),
    ],
)
def test_a_task_with_levels_accumulates_and_clips_itself(
    option: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BILEVEL, option, f"--runs_dir={tmp_path}"]) == 1
    message = capsys.readouterr().err
    assert option.partition("=")[0] in message
    assert remedy in message
    assert "Traceback" not in message


def test_one_optimiser_is_not_clipped_by_two_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model.init_args.optimizer.gradient_clip=1", "--trainer.gradient_clip_val=0.5")
    assert main(tiny_run("fit", tmp_path, *options)) == 1
    assert "--model.optimizer.gradient_clip 0.5" in capsys.readouterr().err


def test_float16_on_a_cpu_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_run("fit", tmp_path, "--trainer.precision=16-mixed")) == 1
    assert "bf16-mixed" in capsys.readouterr().err


def test_a_task_of_one_optimiser_accumulates_and_clips_by_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def clip(self: MGFusionTask, _: Any, value: float | None, algorithm: str | None) -> None:
        seen.append((value, algorithm, self.global_step, self.trainer.precision))

    monkeypatch.setattr(MGFusionTask, "clip_gradients", clip)
    options = (
        "--trainer.accumulate_grad_batches=2",
        "--trainer.gradient_clip_val=0.5",
        "--trainer.precision=bf16-mixed",
    )
    assert main(tiny_run("fit", tmp_path, *options, "--trainer.limit_val_batches=0")) == 0
    assert seen == [(0.5, None, 0, "bf16-mixed")]  # one step of two batches
