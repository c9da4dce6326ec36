"""Runs that are asked to stop, that go on, and that the machine ends: one message, an exit code, whole files."""

import errno
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from lightning import Trainer

from ivif.callbacks.run_log import RunLog
from ivif.callbacks.throughput import Throughput
from ivif.commands.cli import main
from ivif.commands.train.cluster import EXIT_STOPPED
from ivif.commands.train.failures import explain
from ivif.contracts.batch import BatchSize
from ivif.datamodules.sampling import TrainingView
from ivif.files.errors import UnreadableFileError
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.machine.termination import EXIT_TERMINATED
from tests.commands.runs import newest_run, tiny_run
from tests.refusals import refused


def _fit(runs: Path, *options: str) -> list[str]:
    return tiny_run("fit", runs, "--trainer.max_epochs=2", "--trainer.limit_val_batches=0", *options)


def _at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Does something at the end of a step."""

    def hook(self: Throughput, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == step:
            act()

    monkeypatch.setattr(Throughput, "on_train_batch_end", hook)


def _steps(run: Path) -> int:
    return int(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        _at_step(patch, 3, lambda: os.kill(os.getpid(), number))
        assert main(_fit(tmp_path)) == EXIT_STOPPED
    assert signal.getsignal(number) == before
    run = newest_run(tmp_path)
    message = capsys.readouterr().err
    assert number.name in message
    assert f"ivif fit --resume {shlex.quote(str(run))}" in message
    assert _steps(run) == 3
    assert not (run / ".lock").exists()
    assert main(["fit", "--resume", str(run)]) == 0
    assert _steps(run) == 4
    log = pd.read_csv(run / "metrics.csv")
    assert log.dropna(subset="train/loss")["step"].tolist() == [0, 1, 2, 3]
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["ckpt_path"] is None  # settings only


def test_an_interrupt_that_cannot_wait_says_so_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    _at_step(monkeypatch, 1, interrupt)
    assert main(_fit(tmp_path)) == 130
    assert "stopped by the keyboard" in capsys.readouterr().err


def _job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes this process part of job 77; the file in which its calls of `scontrol` are noted."""
    command = folder / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(folder))}/asked\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    return folder / "asked"


def test_a_job_that_was_signalled_before_it_had_trained_is_queued_again_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _job(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Throughput, "on_fit_start", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
        assert main(_fit(tmp_path)) == EXIT_STOPPED
    assert asked.read_text() == "requeue 77\n"
    message = capsys.readouterr().err
    assert "Nothing had been trained yet." in message
    assert "--resume" not in message


def test_a_signalled_job_is_queued_again_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _job(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        _at_step(patch, 1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        assert main(_fit(tmp_path)) == EXIT_STOPPED
    assert asked.read_text() == "requeue 77\n"
    assert "Job 77 is queued again" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main(_fit(tmp_path)) == 0
    run = newest_run(tmp_path)
    assert len([path for path in run.parent.iterdir() if not path.is_symlink()]) == 1
    assert pd.read_csv(run / "metrics.csv").dropna(subset="train/loss")["step"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (MemoryError(), "This machine has no memory left with batch 2 and 32x32 crops"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "(2.00 GiB more were asked for)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "(9 bytes more"),
    ],
)
def test_without_memory_the_message_names_batch_and_crop(
    error: Exception,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def losses(*_: Any) -> None:
        raise error

    monkeypatch.setattr(MGFusionTask, "losses", losses)
    message = refused(_fit(tmp_path), capsys)
    assert named in message
    assert "--loading.batch_size" in message


def test_other_errors_are_not_explained_away(tmp_path: Path) -> None:
    assert explain(RuntimeError("shapes do not match"), "fit", _sized, tmp_path) is None
    assert explain(OSError(errno.ENOENT, "missing"), "fit", _sized, tmp_path) is None


@pytest.mark.parametrize(
    ("command", "option"), [("test", "--transforms.test_resize"), ("validate", "--transforms.resize"), ("predict", "")]
)
def test_without_memory_evaluation_names_its_largest_pair_and_what_the_command_knows(
    command: str, option: str, tmp_path: Path
) -> None:
    message = str(explain(MemoryError(), command, _sized, tmp_path))
    assert "with batch 1 of made/7 (30x50), the largest pair." in message
    assert option in message
    assert ("resize" in message, "--trainer.precision" in message) == (bool(option), True)


def _sized(stage: str) -> BatchSize:
    return BatchSize(1, 30, 50, "made/7")


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        _at_step(patch, 3, lambda: patch.setattr(os, "fsync", full))
        message = refused(_fit(tmp_path, "--checkpoint.every_n_train_steps=1"), capsys)
    assert "No space left on device" in message
    run = newest_run(tmp_path)
    assert _steps(run) == 2
    assert not list(run.rglob(".*partial"))
    assert main(["fit", "--resume", str(run)]) == 0
    assert _steps(run) == 4


def test_a_log_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "metrics.csv")

    monkeypatch.setattr(RunLog, "log_metrics", read_only)
    assert "'metrics.csv': the filesystem is read-only" in refused(_fit(tmp_path), capsys)


def _in_the_second_epoch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    load = TrainingView.__getitem__

    def failing(self: TrainingView, draw: tuple[int, int]) -> Any:
        if draw[0] == 1:
            act()
        return load(self, draw)

    monkeypatch.setattr(TrainingView, "__getitem__", failing)


def test_a_file_that_becomes_unreadable_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable() -> None:
        raise UnreadableFileError(Path("broken.png"), "it is truncated")

    with monkeypatch.context() as patch:
        _in_the_second_epoch(patch, unreadable)
        message = refused(_fit(tmp_path, "--checkpoint.every_n_train_steps=100", "--loading.num_workers=1"), capsys)
    assert "Cannot read 'broken.png'" in message
    run = newest_run(tmp_path)
    assert _steps(run) == 2
    assert main(["fit", "--resume", str(run)]) == 0
    assert _steps(run) == 4


def test_a_loader_process_that_dies_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = os.getpid()

    def die() -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    _in_the_second_epoch(monkeypatch, die)
    message = refused(_fit(tmp_path, "--loading.num_workers=1"), capsys)
    assert "A loader process" in message
    assert "--loading.num_workers" in message
    assert _steps(newest_run(tmp_path)) == 2


@pytest.mark.parametrize("command", ["predict", "test", "validate"])
def test_what_has_nothing_to_save_ends_at_once(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, seen = signal.getsignal(signal.SIGTERM), list[int]()

    def hook(self: Throughput, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int, *_: Any) -> None:
        seen.append(index)
        os.kill(os.getpid(), signal.SIGTERM)

    name = {"validate": "validation"}.get(command, command)
    with monkeypatch.context() as patch:
        patch.setattr(Throughput, f"on_{name}_batch_end", hook)
        assert (
            main(tiny_run(command, tmp_path, "--data.init_args.evaluation_length=4", "--allow_random_weights"))
            == EXIT_TERMINATED
        )
    assert seen == [0]
    assert "stopped by SIGTERM" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert not list(tmp_path.rglob(".lock"))
