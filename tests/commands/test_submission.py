"""`predict --submit`: shards as jobs of submitit, on a pretended SLURM and without one."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.cluster_jobs import _COMMANDS, CommandJob, Submission, read_submission
from ivif.commands.errors import UsageError
from tests.refusals import accepted, refusal, refused

pytest.importorskip("submitit")

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "sbatch": '#!/bin/sh\nfor last; do :; done\ncp "$last" "$FAKE_SLURM/job.sh"\necho Submitted batch job 77\n',
    "srun": '#!/bin/sh\nwhile [ ! -x "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": "#!/bin/sh\necho node\n",
}
"""A SLURM that keeps the job's script, and starts what it is told without options of its own."""


def _scenes(folder: Path) -> Path:
    assert main(["data", "scenes", f"--out={folder}", "--count=6", "--size=[32,32]"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the jobs' processes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six generated pairs."""
    return _scenes(tmp_path_factory.mktemp("pairs") / "scenes")


def _line(scenes: Path, place: Path, text: str) -> list[str]:
    (place / "jobs.yaml").write_text(text, encoding="utf-8")
    line = ["predict", "--config=classic.yaml", "--data=folder.yaml", f"--data.root={scenes}"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--loading.num_workers=0"]
    places = [f"--output_dir={place / 'out'}", f"--runs_dir={place / 'runs'}", f"--submit={place / 'jobs.yaml'}"]
    return [*line, *quiet, "--trainer.enable_model_summary=false", *places]


@pytest.mark.slow
def test_every_shard_is_a_job(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _line(scenes, tmp_path, "shards: 2\ncluster: debug\ntimeout_min: 5\n")
    printed = accepted(line, capsys)
    assert "2 of 2 shards are submitted" in printed
    assert all((tmp_path / "out" / "shards" / f"{index}-of-2" / "done.json").is_file() for index in (1, 2))
    assert f"All 2 shards are done: ivif predict merge {shlex.quote(str(tmp_path / 'out'))}" in accepted(line, capsys)
    (tmp_path / "out" / "shards" / "2-of-2" / "done.json").unlink()
    assert "1 of 2 shards are submitted" in accepted(line, capsys)
    refused(_line(scenes, tmp_path, "shards: 3\n"), capsys, "shards is 3", "has shards of 2")
    accepted(["predict", "merge", str(tmp_path / "out")], capsys)
    assert len(list((tmp_path / "out").glob("*.png"))) == 6


@pytest.mark.slow
def test_a_job_that_fails_is_named(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _line(scenes, tmp_path, "shards: 2\ncluster: debug\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.png").touch()
    for name in sorted((scenes / "vi").iterdir()):
        (tmp_path / "out" / f"{name.stem}.png").touch()
    capsys.readouterr()
    assert main(line) == 1
    assert "2 shards failed, the first is 1/2" in capsys.readouterr().err


def pretend_slurm(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Programs of SLURM's names come first on the path; what they are handed lies in the folder."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("FAKE_SLURM", str(folder))


@pytest.mark.slow
def test_jobs_of_slurm_are_an_array_whose_tasks_are_the_shards(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_slurm(tmp_path, monkeypatch)
    text = (
        "shards: 2\ntimeout_min: 90\nmem_gb: 4\ncpus_per_task: 3\nslurm_partition: long\nslurm_array_parallelism: 1\n"
    )
    assert "77_0" in accepted(_line(scenes, tmp_path, text), capsys)
    script = (tmp_path / "job.sh").read_text(encoding="utf-8")
    asked = ("array=0-1%1", "time=90", "mem=4GB", "cpus-per-task=3", "partition=long", "job-name=ivif-shard")
    assert [option for option in asked if f"#SBATCH --{option}\n" not in script] == []
    assert not list((tmp_path / "out").glob("*"))
    for task in range(2):
        job = {"SLURM_JOB_ID": str(78 + task), "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}
        one = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
        place = {"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "node", "SLURM_JOB_NAME": "ivif-shard"}
        environment = os.environ | job | one | place
        command = ["bash", str(tmp_path / "job.sh")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert f"Shard {task + 1}/2 is done" in ran.stdout, ran.stdout + ran.stderr
    accepted(["predict", "merge", str(tmp_path / "out")], capsys)


@pytest.mark.slow
def test_jobs_run_as_processes_of_this_machine(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(_line(scenes, tmp_path, "shards: 2\ncluster: local\n"), capsys)
    accepted(["predict", "merge", str(tmp_path / "out")], capsys)


def test_a_job_that_meets_its_time_limit_lets_its_command_save_first(tmp_path: Path) -> None:
    job, saved = CommandJob(("predict",)), tmp_path / "saved"
    code = f"""
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path({str(saved)!r}).touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(20)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _COMMANDS.append(process)
        assert job.checkpoint().function == job
        _COMMANDS.remove(process)
        assert saved.exists()
        assert process.returncode == 75


def test_a_job_that_meets_its_time_limit_is_queued_as_it_was() -> None:
    job = CommandJob(("predict", "--shard=1/2"))
    assert job.checkpoint().function == job


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("shards: 0\n", "shards is '0'"),
        ("shards: 1.5\n", "`shards` is 1.5; it must be a whole number"),
        ("shards: 200000\n", "`shards` is 200000; it must be a whole number from 1 to 100000"),
        ("[1]\n", "give what each job needs"),
        ("shards: 2\nslurm_setup: [rm -r x]\n", "'slurm_setup' is none of"),
        ("shards: 2\nslurm_additional_parameters: {a: b}\n", "'slurm_additional_parameters' is none of"),
        ('shards: 2\nslurm_partition: "a\\nrm -r x"\n', r"slurm_partition is 'a\nrm -r x'; give a name"),
        ("shards: 2\nslurm_gres: gpu; x\n", "give a name"),
        ("shards: 2\ntimeout_min: soon\n", "timeout_min is 'soon'; give a number"),
        ("shards: 2\ncluster: moon\n", "cluster is 'moon'"),
        ("shards: {\n", "cannot be read as YAML"),
    ],
)
def test_a_file_says_numbers_and_names_alone(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(text, encoding="utf-8")
    message = refusal(lambda: read_submission(tmp_path / "jobs.yaml"), UsageError, named)
    assert "rm -r x\n" not in message


def test_what_a_file_may_say(tmp_path: Path) -> None:
    text = "shards: 64\ngpus_per_node: 0\nslurm_gres: gpu:a100:1\nslurm_constraint: a&b|c\nmem_gb: 3.5\n"
    (tmp_path / "jobs.yaml").write_text(text, encoding="utf-8")
    resources: dict[str, int | float | str] = {
        "gpus_per_node": 0,
        "slurm_gres": "gpu:a100:1",
        "slurm_constraint": "a&b|c",
        "mem_gb": 3.5,
    }
    assert read_submission(tmp_path / "jobs.yaml") == Submission(64, "slurm", resources)


def test_lines_that_cannot_be_submitted_are_refused(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(_line(scenes, tmp_path, "timeout_min: 4\n"), capsys, "it needs `shards`")
    line = _line(scenes, tmp_path, "shards: 2\n")
    refused([*line, "--shard=1/2"], capsys, "makes all shards: leave out --shard 1/2")
    refused([word for word in line if "output_dir" not in word], capsys, "needs --output_dir")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    refused(line, capsys, "the jobs were refused", "srun")
    monkeypatch.setitem(sys.modules, "submitit", None)
    refused(line, capsys, "pip install 'ivif-lightning[cluster]'")
