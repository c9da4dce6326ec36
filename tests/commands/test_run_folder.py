"""Folders of runs: new each time, held by one process, found again by a requeued job."""

import json
import os
import socket
from pathlib import Path

import pytest

from commands.errors import UsageError
from commands.run_folder import (
    RUN_FOLDER_VARIABLE,
    choose_run_folder,
    lock_run_folder,
    mark_latest,
    release_run_folder,
)


def test_every_run_gets_a_folder_that_its_processes_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = choose_run_folder(tmp_path, "a")
    assert choose_run_folder(tmp_path, "a") == first
    monkeypatch.delenv(RUN_FOLDER_VARIABLE)
    assert choose_run_folder(tmp_path, "a") != first
    assert first.parent == tmp_path / "a"


def test_a_requeued_job_finds_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    first = choose_run_folder(tmp_path, "a")
    first.mkdir(parents=True)
    monkeypatch.delenv(RUN_FOLDER_VARIABLE)
    assert choose_run_folder(tmp_path, "a") == first


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    lock_run_folder(tmp_path / "run")
    lock = tmp_path / "run" / ".lock"
    assert json.loads(lock.read_text()) == {"host": socket.gethostname(), "pid": os.getpid()}
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": 1}))
    with pytest.raises(UsageError, match="in use by process 1"):
        lock_run_folder(tmp_path / "run")


def test_a_dead_processes_folder_is_taken_over_and_released(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 12345}))
    lock_run_folder(tmp_path)
    release_run_folder(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_another_machines_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"host": "elsewhere", "pid": 5}))
    with pytest.raises(UsageError, match="on elsewhere"):
        lock_run_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/run.*--runs_dir"):
        lock_run_folder(tmp_path / "file" / "run")


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mark_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"
