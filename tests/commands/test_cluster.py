"""What launchers say, and what a job begins from."""

from pathlib import Path

import pytest

from commands.cluster import command_digest, launched_job
from commands.errors import UsageError
from commands.run_control import checkpoint_to_resume


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
