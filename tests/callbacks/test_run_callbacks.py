"""Panels, records, checkpoints and throughput."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_record import RECORD_KEY, RunRecord
from ivif.callbacks.throughput import Throughput, peak_memory
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer
from tests.disks import full_disk


def _task() -> MGFusionTask:
    return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))


def test_panels_of_the_first_pairs_of_every_dataset(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[ImageLogger(images_per_dataset=1, height=24)])
    trainer.test(ClassicFusionTask("average"), MadeData(), verbose=False)
    folder = tmp_path / "panels" / "test" / "step0000000"
    panels = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert panels == ["made/0000.png", "other/0000.png"]
    assert Image.open(folder / "made" / "0000.png").size == (3 * 32 + 2 * 4, 24 + 22)


def test_the_newest_checkpoint_is_always_last(tmp_path: Path) -> None:
    trainer = quiet_trainer(
        tmp_path, max_epochs=2, limit_val_batches=0, enable_checkpointing=True, callbacks=[RunCheckpoint()]
    )
    trainer.fit(_task(), MadeData())
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch0001-step0000004.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_run_records_what_it_ran_with(tmp_path: Path) -> None:
    quiet_trainer(tmp_path, callbacks=[RunRecord()]).test(ClassicFusionTask("average"), MadeData(), verbose=False)
    record = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert set(record) == {"command", "commit", "python", "platform", "host", "packages"}
    assert record["packages"]["torch"] == torch.__version__.split("+")[0]


def test_a_record_that_cannot_be_written_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "environment.json"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    trainer = quiet_trainer(tmp_path, callbacks=[RunRecord("seed: 1\n")])
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        trainer.test(ClassicFusionTask("average"), MadeData(), verbose=False)
    for name in ("config.yaml", "environment.json"):
        assert (tmp_path / name).read_text(encoding="utf-8") == "{}\n"
    assert not list(tmp_path.glob(".*"))


def test_the_record_of_a_resumed_run_is_replaced_when_its_first_batch_is_done(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    seen: list[str] = []

    class Look(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            seen.append(config.read_text(encoding="utf-8"))

    for text in ("seed: 1\n", "seed: 2\n"):
        trainer = quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0, callbacks=[RunRecord(text), Look()])
        trainer.fit(_task(), MadeData())
    assert seen == ["seed: 1\n", "seed: 1\n", "seed: 1\n", "seed: 2\n"]


class _Seen(Callback):
    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values = {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_throughput_counts_pairs_and_waiting(tmp_path: Path) -> None:
    seen = _Seen()
    quiet_trainer(tmp_path, max_epochs=1, limit_val_batches=0, callbacks=[Throughput(), seen]).fit(_task(), MadeData())
    assert seen.values["perf/pairs_per_second"] > 0
    assert 0 <= seen.values["perf/data_share"] < 1
    assert 0.05 < seen.values["perf/peak_memory_gb"] < 100


def test_throughput_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.0, 1.0, 4.0, 5.0, 8.0])  # built, begun; then twice: 1 s of waiting, 3 s of work
    monkeypatch.setattr("ivif.callbacks.throughput.time", SimpleNamespace(perf_counter=lambda: next(times)))
    logged: dict[str, float] = {}
    trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    task = SimpleNamespace(log_dict=lambda values, **_: logged.update(values))
    hooks: Any = Throughput()
    hooks.on_train_epoch_start(trainer, task)
    for number in range(2):
        hooks.on_train_batch_start(trainer, task, {"name": ["a", "b"]}, number)
        hooks.on_train_batch_end(trainer, task, None, {"name": ["a", "b"]}, number)
    hooks.on_train_epoch_end(trainer, task)
    assert logged["perf/pairs_per_second"] == 2 * 4 / 8.0
    assert logged["perf/data_share"] == 2 / 8.0


@pytest.mark.parametrize(
    ("processes", "joined", "parts", "line"),
    [
        (1, 1, 1, "A step has 16 pairs: 16 of each process."),
        (8, 2, 1, "A step has 256 pairs: 16 of each process x 8 processes x 2 accumulated batches."),
        (2, 1, 4, "A step has 32 pairs: 16 of each process x 2 processes, each process's batch cut into 4 parts."),
        (1, 1, 64, "A step has 16 pairs: 16 of each process, each process's batch cut into 16 parts."),
    ],
)
def test_a_run_says_how_many_pairs_a_step_has(
    processes: int, joined: int, parts: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("ivif.callbacks.run_record.rank_zero_info", said.append)
    data = SimpleNamespace(batch_size=16)
    trainer = SimpleNamespace(world_size=processes, accumulate_grad_batches=joined, datamodule=data)
    hooks: Any = RunRecord()
    hooks.on_fit_start(trainer, SimpleNamespace(accumulate=parts))
    assert said == [line]


@pytest.mark.parametrize(
    ("before", "warned"), [([16, 1], False), ([2, 8], False), ([4, 8], True), (None, True), (["x"], True), (7, True)]
)
def test_the_same_batch_on_other_processes_is_no_change(
    before: Any, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data = SimpleNamespace(batch_size=8)
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    trainer = SimpleNamespace(world_size=2, datamodule=data, state=state, default_root_dir="runs", ckpt_path="x.ckpt")
    hooks: Any = RunRecord()
    hooks.on_load_checkpoint(trainer, None, {RECORD_KEY: {"data": {}, "batches": before}})
    assert ("not go on with exactly the same pairs" in caplog.text) == warned


def test_memory_is_that_of_the_device_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # a run on the CPU of a machine with a GPU
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 3 * 2**30 if device.type == "cuda" else 0)
    assert peak_memory(torch.device("cuda", 0)) == 3 * 2**30
    trainer = quiet_trainer(tmp_path, callbacks=[Throughput()])
    trainer.test(ClassicFusionTask("average"), MadeData(), verbose=False)
    assert 0.05 < trainer.callback_metrics["perf/peak_memory_gb"] != 3  # the most that this process has ever held
