"""A run that cannot fit ends before its first batch, in every stage, with what helps there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ivif.callbacks.memory_guard import MemoryGuard, NotEnoughMemoryError
from ivif.callbacks.memory_remedies import GIB, remedies
from ivif.contracts.batch import BatchSize
from ivif.datamodules.configuration import LoadingConfig
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer
from ivif.testing.processes import run_python
from tests.commands.runs import TINY
from tests.configs.test_configs import method_flags
from tests.fakes import write_folder
from tests.refusals import accepted, refused

SCRIPT = Path(__file__).parent / "ddp_memory.py"


def _task() -> MGFusionTask:
    return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))


class _SizedData(MadeData):
    def largest_batch(self, stage: str) -> BatchSize:
        return BatchSize(2, 24, 32) if stage == "train" else BatchSize(1, 33, 41, "other/0001")


def _limit(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("ivif.callbacks.memory_guard.free_memory", lambda _: free)


def test_training_that_cannot_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limit(monkeypatch, 1000)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[MemoryGuard()])
    with pytest.raises(NotEnoughMemoryError, match=r"training step with batch 2 of 24x32 pixels needs about"):
        trainer.fit(_task(), _SizedData())
    off = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[MemoryGuard(enabled=False)])
    off.fit(_task(), _SizedData())
    assert off.global_step == 1


@pytest.mark.parametrize(
    ("command", "what"), [("validate", "Validation"), ("test", "Testing"), ("predict", "Predicting")]
)
def test_every_other_stage_is_refused_by_its_largest_pair(
    command: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit(monkeypatch, 1000)
    trainer = quiet_trainer(tmp_path, callbacks=[MemoryGuard()])
    with pytest.raises(NotEnoughMemoryError, match=rf"^{what} with batch 1 of other/0001 \(33x41\) needs about"):
        getattr(trainer, command)(_task(), _SizedData())


def test_validation_is_looked_at_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(self: FusionTask, size: Any, training: bool, **_: Any) -> int:
        return 10 if training else 2000

    monkeypatch.setattr(FusionTask, "estimate_memory", estimate)
    _limit(monkeypatch, 1000)
    trainer = quiet_trainer(tmp_path, max_steps=1, callbacks=[MemoryGuard()])
    with pytest.raises(NotEnoughMemoryError, match=r"^Validation.*--trainer\.limit_val_batches 0"):
        trainer.fit(_task(), _SizedData())
    quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[MemoryGuard()]).fit(_task(), _SizedData())


def test_a_run_that_fits_says_its_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _limit(monkeypatch, GIB)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[MemoryGuard()])
    with caplog.at_level("INFO"):
        trainer.fit(_task(), _SizedData())
    assert any("A training step with batch 2 of 24x32 pixels needs" in entry.getMessage() for entry in caplog.records)


def test_a_step_that_surely_fits_is_not_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(*_: Any, **__: Any) -> int:
        raise AssertionError

    monkeypatch.setattr(FusionTask, "estimate_memory", estimate)
    _limit(monkeypatch, 4 * GIB)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[MemoryGuard()])
    trainer.fit(_task(), _SizedData())
    assert trainer.global_step == 1


def _folder(root: Path) -> Path:
    write_folder(root, count=2)
    for modality, mode in (("ir", "L"), ("vi", "RGB")):
        largest = sorted((root / modality).iterdir())[0]
        Image.new(mode, (320, 240)).save(largest)
    return root


@pytest.mark.parametrize(
    "command", ["predict", *(pytest.param(name, marks=pytest.mark.slow) for name in ("test", "fit"))]
)
def test_each_option_that_is_advised_makes_the_same_command_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _folder(tmp_path / "pairs")
    line = [
        command,
        "--config=mgfusion.yaml",
        "--data=folder.yaml",
        f"--data.init_args.root={root}",
        "--data.init_args.train_fraction=0.5",
        *TINY,
        "--transforms.crop=null",
        f"--runs_dir={tmp_path / 'runs'}",
    ]
    line += {
        "predict": ["--data.init_args.predict_stage=all", "--allow_random_weights"],
        "test": ["--data.init_args.train_fraction=0", "--allow_random_weights"],
        "fit": ["--trainer.max_steps=1", "--transforms.resize=[128,160]", "--trainer.limit_val_batches=0"],
    }[command]
    needed = _needed(line, monkeypatch)
    _limit(monkeypatch, round(needed * 0.8))
    message = refused(line, capsys)
    assert command == "fit" or re.search(r"folder/\w+ \(240x320\)", message)
    frames = {"test": "--transforms.test_resize", "fit": "--transforms.resize", "predict": None}[command]
    assert re.findall(r"--transforms\.\w*resize", message)[:1] == ([frames] if frames else [])
    options = re.findall(r"(--[^()]*?)(?: for smaller frames)? \(", message)
    assert options
    for option in options:
        later = [part for text in re.split(r" (?=--)", option) for part in [text.strip().replace(" ", "=", 1)]]
        accepted([*line, *later], capsys)


@pytest.mark.slow
def test_the_levers_of_two_levels_are_named_by_what_they_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["fit", *method_flags(["text_to_pixels.yaml"]), "--model.network.checkpoint_blocks=false"]
    line += ["--trainer.max_steps=1", "--trainer.fast_dev_run=false", "--transforms.resize=[128,128]"]
    line += ["--model.bilevel.accumulate=1", "--model.crops.size=64", "--model.crops.per_frame=4"]
    _limit(monkeypatch, 1000)
    message = refused([*line, f"--runs_dir={tmp_path}"], capsys)
    assert re.findall(r"--([\w.]+ [\w\[\],-]+)[^()]*\(", message) == [
        "model.bilevel.accumulate 2",
        "model.network.checkpoint_blocks true",
        "trainer.precision bf16-mixed",
        "transforms.resize [64,64]",
        "model.crops.per_frame 1",
        "model.crops.size 16",
    ]


def test_parts_of_a_step_keep_its_batch_on_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = quiet_trainer(tmp_path, accumulate_grad_batches=3)
    task, data = _task(), _SizedData()
    data.loading = LoadingConfig(batch_size=8, share_batch=True)  # type: ignore[attr-defined]
    task.trainer = trainer
    trainer.datamodule = data  # type: ignore[attr-defined]
    monkeypatch.setattr(type(trainer), "world_size", 4)
    text = remedies(trainer, task, "train", BatchSize(2, 48, 48), 0)
    assert "--loading.batch_size 4 --trainer.accumulate_grad_batches 6 (" in text


def _needed(line: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """What the command's largest step is estimated to need."""
    from ivif.commands.cli import main

    seen: list[int] = []
    own: Callable[..., int | None] = FusionTask.estimate_memory

    def noted(*arguments: Any, **options: Any) -> int | None:
        seen.append(own(*arguments, **options) or 0)
        return seen[-1]

    with monkeypatch.context() as patch:
        patch.setattr("ivif.callbacks.memory_guard.free_memory", lambda _: GIB)
        patch.setattr(FusionTask, "estimate_memory", noted)
        assert main(line) == 0
    return max(seen)


@pytest.mark.slow
@pytest.mark.parametrize(("lacking", "places"), [(0, "apart"), (1, "apart"), (1, "together")])
def test_two_processes_end_together(lacking: int, places: str, tmp_path: Path) -> None:
    run_python(SCRIPT, tmp_path, lacking, places, timeout=120)
    first, second = ((tmp_path / f"ended{rank}").read_text(encoding="utf-8") for rank in range(2))
    assert first == second
    which = f"for process {lacking} on" if places == "apart" else "for the processes 0, 1 together on"
    assert which in first
