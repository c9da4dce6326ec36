"""`python main.py`, `python -m ivif` and the console script `ivif` are one program, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ivif.callbacks.run_log import read_rows
from tests.commands.runs import newest_run, tiny_run

ROOT = Path(__file__).resolve().parents[2]

CONSOLE_SCRIPT = """\
import sys
from ivif.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""
"""As pip writes it into `bin/`: without a suffix, and without the clone on its path."""


def start(entry: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program by one of its entries, in a folder that has nothing to do with the clone."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "bin" / "ivif"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT, encoding="utf-8")
    program = {"main.py": [str(ROOT / "main.py")], "python -m ivif": ["-m", "ivif"], "ivif": [str(script)]}[entry]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


ENTRIES = pytest.mark.parametrize("entry", ["main.py", "python -m ivif", "ivif"])


@ENTRIES
def test_every_entry_says_the_same(entry: str, tmp_path: Path) -> None:
    ended = start(entry, tmp_path / "elsewhere", "fitt")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: fitt: there is no such command. Did you mean fit?")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["bin"]


@pytest.mark.slow
@ENTRIES
def test_every_entry_starts_its_processes_and_spawned_workers(entry: str, tmp_path: Path) -> None:
    line = [
        *tiny_run("fit", Path("runs"), "--trainer.devices=2", "--trainer.strategy=ddp_find_unused_parameters_true"),
        "--loading.num_workers=1",
        "--trainer.limit_val_batches=0",
        "--trainer.callbacks+=tests.cluster.pace.SpawnedWorkers",
        "--trainer.callbacks+=tests.cluster.pace.RankWeights",
    ]
    ended = start(entry, tmp_path / "elsewhere", *line)
    assert ended.returncode == 0, ended.stderr
    run = newest_run(tmp_path / "elsewhere" / "runs")
    first, second = (torch.load(run / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert [
        name
        for name, value in first.items()
        if value.is_floating_point() and "running_" not in name and not torch.allclose(value, second[name], atol=1e-6)
    ] == []
    assert len([row for row in read_rows(run / "metrics.csv") if row.get("train/loss")]) == 2  # 4 pairs, 2 a step
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"bin", "runs"}


@pytest.mark.parametrize(
    ("variables", "program"),
    [
        ({}, [".venv/bin/python", "main.py"]),
        ({"PYTHON": "/opt/my python/bin/python"}, ["/opt/my python/bin/python", "main.py"]),
        ({"IVIF": "ivif"}, ["ivif"]),
        ({"IVIF": "python -m ivif"}, ["python", "-m", "ivif"]),
    ],
)
def test_a_job_starts_the_program_that_is_asked_for(
    variables: dict[str, str], program: list[str], tmp_path: Path
) -> None:
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="utf-8")
    srun.chmod(0o755)
    places = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4"}
    started = subprocess.run(
        ["bash", str(ROOT / "scripts" / "slurm" / "fit.sbatch"), "--config", "a b.yaml"],
        env=places | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    asked = [*program, "fit", "--config", "a b.yaml", "--trainer.num_nodes", "2", "--trainer.devices", "4"]
    assert started.stdout.splitlines()[-len(asked) :] == asked
    assert started.stdout.splitlines()[0].startswith("--kill-on-bad-exit")
