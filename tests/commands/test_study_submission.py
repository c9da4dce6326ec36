"""`study run --submit`: the runs of a study as tasks of an array, on a pretended SLURM and without one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ivif.commands.cluster_jobs import CommandJob
from ivif.commands.study.execute import Execution, _EndedError
from ivif.commands.study.record import read_record
from ivif.commands.study.run import opened, study_cell
from tests.commands.runs import TINY_STUDY
from tests.commands.test_study_run import STUDY
from tests.commands.test_submission import pretend_slurm
from tests.refusals import accepted, refused

pytest.importorskip("submitit")

ROOT = Path(__file__).resolve().parents[2]
AFTER = {
    "first": {"config": "mgfusion.yaml", "seeds": [7], "tables": False},
    "second": {"config": "mgfusion.yaml", "after": "first", "options": {"init_from": "{after}"}},
}


@pytest.fixture(autouse=True)
def _this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the jobs' processes


def _line(place: Path, jobs: str = "cluster: debug\n", **changes: object) -> list[str]:
    (place / "small.yaml").write_text(yaml.safe_dump(STUDY | changes))
    (place / "jobs.yaml").write_text(jobs)
    places = [f"--studies_dir={place / 'studies'}", f"--root={place}", f"--submit={place / 'jobs.yaml'}"]
    return ["study", "run", str(place / "small.yaml"), *places]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The command lines of jobs, which are not run."""
    lines: list[tuple[str, ...]] = []

    def submit(given: Any, jobs: list[CommandJob], name: str, logs: Path, file: Path) -> list[Any]:
        lines.extend(job.arguments for job in jobs)
        return [type("Job", (), {"job_id": "77_0"})]

    monkeypatch.setattr("ivif.commands.study.submission.submit_jobs", submit)
    monkeypatch.setattr("ivif.commands.study.submission.failures_of", lambda *_: [])
    return lines


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were trained and tested, in place of the commands."""
    done: list[str] = []

    def fit(self: Execution) -> None:
        done.append(self.run.name)
        self._note("trained", "x")

    monkeypatch.setattr(Execution, "_fit", fit)
    monkeypatch.setattr(Execution, "_test", lambda self, name, _: self._note_test(name, "y"))
    return done


def _cell(place: Path, name: str) -> int:
    return study_cell(str(place / "small.yaml"), place / "studies", place, (), name)


def test_what_is_not_done_is_submitted(
    tmp_path: Path, submitted: list[tuple[str, ...]], fits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = _line(tmp_path)
    assert "2 of 2 runs are submitted: 77_0" in accepted(line, capsys)
    shared = ["study", "run", str(tmp_path / "small.yaml"), f"--studies_dir={tmp_path / 'studies'}"]
    assert submitted == [(*shared, f"--root={tmp_path}", f"--cell=one-seed{seed}") for seed in (0, 1)]
    place = tmp_path / "studies" / "small"
    assert [record.state for record in read_record(place)] == ["waiting", "waiting"]
    assert _cell(tmp_path, "one-seed1") == 0
    assert fits == ["one-seed1"]
    assert [record.state for record in read_record(place)] == ["waiting", "finished"]  # of a task's own file
    submitted.clear()
    accepted(line, capsys)
    assert [words[-1] for words in submitted] == ["--cell=one-seed0"]
    assert _cell(tmp_path, "one-seed0") == 0
    assert "All 2 runs are finished" in accepted(line, capsys)


def test_what_runs_elsewhere_is_not_submitted_nor_run(
    tmp_path: Path, submitted: list[tuple[str, ...]], fits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = _line(tmp_path)
    held = tmp_path / "studies" / "small" / "one-seed0"
    held.mkdir(parents=True)
    (held / ".lock").write_text(json.dumps({"host": "another", "pid": 1, "job": None}))
    assert "1 are under way: one-seed0" in accepted(line, capsys)
    assert [words[-1] for words in submitted] == ["--cell=one-seed1"]
    assert _cell(tmp_path, "one-seed0") == 1
    assert "in use by process 1 on another" in capsys.readouterr().out
    assert fits == []


def test_what_begins_from_another_run_waits_for_it(
    tmp_path: Path, submitted: list[tuple[str, ...]], fits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = _line(tmp_path, methods=AFTER, seeds=[7])
    assert "1 begin from a run that is not trained yet" in accepted(line, capsys)
    assert [words[-1] for words in submitted] == ["--cell=first-seed7"]
    assert _cell(tmp_path, "first-seed7") == 0
    submitted.clear()
    accepted(line, capsys)
    assert [words[-1] for words in submitted] == ["--cell=second-seed7"]


def test_a_run_reads_anew_how_far_it_came_when_it_has_its_folder(tmp_path: Path, fits: list[str]) -> None:
    _line(tmp_path)
    _, (early, _) = opened(str(tmp_path / "small.yaml"), tmp_path / "studies", tmp_path, ())
    assert _cell(tmp_path, "one-seed0") == 0
    assert early.execute().state == "finished"
    assert fits == ["one-seed0"]


def test_a_task_that_failed_is_named_by_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: Execution) -> None:
        raise _EndedError("fit ended with exit code 1: no luck")

    _line(tmp_path)
    monkeypatch.setattr(Execution, "_fit", fit)
    assert _cell(tmp_path, "one-seed0") == 1
    progress = json.loads((tmp_path / "studies" / "small" / "one-seed0" / "progress.json").read_text())
    assert (progress["record"]["state"], progress["record"]["problem"][-7:]) == ("failed", "no luck")


def test_refuses_what_cannot_be_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _line(tmp_path)
    refused([*line, "--cell=one-seed0"], capsys, "leave out --cell and --dry_run")
    refused([*line[:-1], "--cell=two-seed0"], capsys, "--cell two-seed0", "It has one-seed0, one-seed1")
    refused(_line(tmp_path, "cluster: moon\n"), capsys, "cluster is 'moon'")


@pytest.mark.slow
def test_tasks_of_slurm_run_a_cell_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TINY_STUDY | {"trainer.max_steps": 2}
    pretend_slurm(tmp_path, monkeypatch)
    line = _line(tmp_path, "shards: 64\ntimeout_min: 90\nslurm_partition: long\n", options=options)
    assert "77_0" in accepted(line, capsys)
    script = (tmp_path / "job.sh").read_text(encoding="utf-8")
    assert all(f"#SBATCH --{one}\n" in script for one in ("array=0-1%2", "job-name=ivif-study", "partition=long"))
    job = {"SLURM_JOB_ID": "79", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_NUM_NODES": "1"}
    one = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    environment = os.environ | job | one | {"SLURM_JOB_NODELIST": "node", "SLURM_JOB_NAME": "ivif-study"}
    command = ["bash", str(tmp_path / "job.sh")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=500)
    assert "1 of 1 runs finished" in ran.stdout, ran.stdout + ran.stderr
    records = read_record(tmp_path / "studies" / "small")
    assert [record.state for record in records] == ["waiting", "finished"]
    assert (tmp_path / "studies" / "small" / records[1].tables[0] / "test.csv").is_file()


@pytest.mark.slow
def test_a_task_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _line(tmp_path, "cluster: local\n", options={"model.colour": "red"}, seeds=[3])
    refused(line, capsys, "1 runs failed, the first is one-seed3", str(tmp_path / "studies" / "submitted"))
    (record,) = read_record(tmp_path / "studies" / "small")
    assert record.state == "failed"
    assert "colour" in record.problem
