"""Processes that Lightning starts itself end together, the first one with the exit code of the run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ivif.commands.train.cluster import EXIT_STOPPED
from tests.commands.runs import newest_run, tiny_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_stop_ends_all_processes_and_the_first_may_take_its_time(tmp_path: Path) -> None:
    line = [
        *tiny_run("fit", tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=500"),
        "--trainer.max_time=00:00:00:02",
        "--trainer.limit_val_batches=0",
        "--trainer.callbacks+=tests.cluster.pace.LingeringFirst",
    ]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *line],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == EXIT_STOPPED, ended.stderr
    assert ended.stderr.count("Training was stopped by the time limit trainer.max_time.") == 1
    assert f"Go on with: python main.py fit --resume {shlex.quote(str(newest_run(tmp_path)))}" in ended.stderr
    assert not (newest_run(tmp_path) / ".lock").exists()
