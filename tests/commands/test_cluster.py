"""What launchers say, and what a job begins from."""

import signal
from pathlib import Path
from typing import Any

import pytest
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ivif.callbacks.throughput import Throughput
from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.train.launchers import command_digest, launched_job, say_restart_advice
from ivif.commands.train.run_folder import checkpoint_to_resume
from tests.commands.runs import tiny_run


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "fit"}, "job7"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_JOB_ID": "7", "TORCHELASTIC_RUN_ID": "mine"}, "job7"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "bash", "TORCHELASTIC_RUN_ID": "mine"}, "mine"),
        ({"TORCHELASTIC_RUN_ID": "../a b"}, "___a_b"),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1"}, None),
    ],
)
def test_a_job_is_what_all_its_processes_know(
    environment: dict[str, str], job: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_job() == job


def test_processes_without_a_common_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--standalone"):
        launched_job()


@pytest.mark.parametrize(
    ("environment", "advised"),
    [
        ({}, False),
        ({"TORCHELASTIC_MAX_RESTARTS": "0", "RANK": "0"}, False),
        ({"TORCHELASTIC_MAX_RESTARTS": "3", "RANK": "0"}, True),
        ({"TORCHELASTIC_MAX_RESTARTS": "3", "RANK": "1"}, False),  # said once
        ({"TORCHELASTIC_MAX_RESTARTS": "3", "RANK": "0", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}, False),
    ],
)
def test_restarts_without_stores_of_their_own_are_advised_against(
    environment: dict[str, str], advised: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    say_restart_advice()
    assert ("begin with `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun" in capsys.readouterr().err) == advised


def test_digests_tell_commands_apart() -> None:
    assert command_digest(["a", "b"]) == command_digest(("a", "b"))
    assert len({command_digest(arguments) for arguments in (["a", "b"], ["ab"], ["a"], [])}) == 4


@pytest.mark.parametrize("given", [None, "last", "other.ckpt"])
def test_a_job_that_starts_again_goes_on_from_its_own_checkpoint(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert checkpoint_to_resume(tmp_path, given) == (None if given == "last" else given)
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.touch()
    assert checkpoint_to_resume(tmp_path, given) == str(last)
    monkeypatch.delenv("SLURM_JOB_ID")
    assert checkpoint_to_resume(tmp_path, given) == (str(last) if given == "last" else given)


def test_lightnings_own_requeue_is_off_while_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {"JOB_ID": "7", "JOB_NAME": "test", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in ids.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    seen: list[tuple[Trainer, object, bool]] = []

    def look(self: Throughput, trainer: Trainer, *_: Any) -> None:
        environment = trainer._accelerator_connector.cluster_environment
        assert isinstance(environment, SLURMEnvironment)
        seen.append((trainer, signal.getsignal(signal.SIGUSR1), environment.auto_requeue))

    monkeypatch.setattr(Throughput, "on_test_batch_start", look)
    before = signal.getsignal(signal.SIGUSR1)
    assert main(tiny_run("test", tmp_path, "--allow_random_weights", "--trainer.limit_test_batches=1")) == 0
    ((trainer, handler, requeues),) = seen
    assert (handler, requeues) == (before, False)
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert environment.auto_requeue  # the wish that our own requeue follows
