"""Folders of runs: new each time, held by one process, found again by a requeued job."""

import json
import os
import socket
from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.train.run_folder import (
    RUN_FOLDER_VARIABLE,
    choose_run_folder,
    lock_run_folder,
    release_run_folder,
)
from ivif.commands.train.run_start import mark_latest
from tests.commands.runs import tiny_run
from tests.processes import holder_of


def test_every_run_gets_a_folder_that_its_processes_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = choose_run_folder(tmp_path, "a")
    assert choose_run_folder(tmp_path, "a") == first
    monkeypatch.delenv(RUN_FOLDER_VARIABLE)
    assert choose_run_folder(tmp_path, "a") != first
    assert first.parent == tmp_path / "a"


def test_a_refused_command_leaves_the_next_one_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    assert main(tiny_run("test", tmp_path)) == 1  # without weights
    assert RUN_FOLDER_VARIABLE not in os.environ


def test_a_requeued_job_finds_the_folder_of_each_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    folders = []
    for arguments in (["--seed", "1"], ["--seed", "2"], ["--seed", "1"]):
        folders.append(choose_run_folder(tmp_path, "a", arguments))
        monkeypatch.delenv(RUN_FOLDER_VARIABLE)
    assert folders[0] == folders[2] != folders[1]
    assert all(folder.name.startswith("job77-") for folder in folders)


def test_what_is_typed_on_a_node_is_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert "job77" not in choose_run_folder(tmp_path, "a", ["--seed", "1"]).name


def test_of_two_processes_one_gets_the_folder_until_it_is_gone(tmp_path: Path) -> None:
    with (
        holder_of(tmp_path) as holder,
        pytest.raises(UsageError, match=f"in use by process {holder.pid} on {socket.gethostname()}"),
    ):
        lock_run_folder(tmp_path)
    assert (tmp_path / ".lock").exists()  # nobody was left to remove it
    lock_run_folder(tmp_path)
    claim = json.loads((tmp_path / ".lock").read_text(encoding="utf-8"))
    assert (claim["host"], claim["pid"]) == (socket.gethostname(), os.getpid())
    release_run_folder(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_another_machines_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"host": "elsewhere", "pid": 5}))
    with pytest.raises(UsageError, match="on elsewhere"):
        lock_run_folder(tmp_path)


def test_a_job_that_was_queued_again_follows_itself_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"host": "elsewhere", "pid": 5, "job": "77"}))
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    with pytest.raises(UsageError, match="on elsewhere"):
        lock_run_folder(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    lock_run_folder(tmp_path)
    release_run_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/run.*--runs_dir"):
        lock_run_folder(tmp_path / "file" / "run")


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mark_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"


def test_a_run_that_was_killed_while_it_marked_itself_does_so_again(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            mark_latest(killed)
    assert not (tmp_path / "latest").exists()
    mark_latest(killed)
    assert (tmp_path / "latest").resolve() == killed
    assert {path.name for path in tmp_path.iterdir()} == {"killed", "latest"}


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
