"""A job that SLURM ends in the middle, and starts again, ends with the weights of one that was left alone."""

from pathlib import Path

import pytest
import torch

from ivif.callbacks.run_log import read_rows
from tests.cluster.conftest import ENVIRONMENT, ROOT
from tests.cluster.local_slurm import LocalSlurm, wait_until
from tests.commands.runs import tiny_run
from tests.resuming import differences, last

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

STEPS = 40
ENDS = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
"""States that a job does not leave; it is between others when it is queued again."""


class _Job:
    """Training of a tiny MGFusion by `scripts/slurm/fit.sbatch`, at least `pace` seconds for each step."""

    def __init__(self, slurm: LocalSlurm, folder: Path, tasks: int, pace: float, *options: str) -> None:
        self.slurm, self.runs, self.output = slurm, folder / "runs", folder / "job.out"
        folder.mkdir()
        fit = [
            *tiny_run("fit", self.runs)[1:],
            "--data.init_args.train_length=16",
            "--trainer.check_val_every_n_epoch=2",
            "--trainer.max_epochs=-1",
            f"--trainer.max_steps={STEPS}",
            "--trainer.strategy=ddp",
            f"--trainer.callbacks+={{class_path: tests.cluster.pace.Pace, init_args: {{seconds: {pace}}}}}",
            "--trainer.callbacks+=tests.cluster.pace.RankWeights",
        ]
        printed = slurm.ask(
            "sbatch",
            "--parsable",
            f"--chdir={ROOT}",
            f"--output={self.output}",
            f"--ntasks-per-node={tasks}",
            "--cpus-per-task=1",
            *options,
            str(ROOT / "scripts" / "slurm" / "fit.sbatch"),
            *fit,
            environment=ENVIRONMENT,
        )
        self.number = printed.strip()

    def finish(self) -> Path:
        """Waits for the end; the only run folder."""
        try:
            wait_until(lambda: self.state["JobState"] in ENDS, 1200, "the job")
        finally:
            text = self.output.read_text() if self.output.is_file() else "no output"
        assert self.state["JobState"] == "COMPLETED", text
        (folder,) = [path for path in (self.runs / "tiny").iterdir() if not path.is_symlink()]
        assert folder.name.startswith(f"job{self.number}-")
        return folder

    def wait_for_steps(self, steps: int) -> None:
        """Waits until some are logged."""
        wait_until(
            lambda: any(len(read_rows(log)) >= steps for log in self.runs.glob("tiny/*/metrics.csv")), 600, "steps"
        )

    @property
    def state(self) -> dict[str, str]:
        return self.slurm.job(self.number)


def _assert_equal(disturbed: Path, left_alone: Path, tasks: int) -> None:
    assert differences(left_alone, disturbed) == []
    assert torch.load(last(disturbed), weights_only=True)["global_step"] == STEPS
    files = [run / f"rank{rank}.pt" for run in (left_alone, disturbed) for rank in range(tasks)]
    first, *others = (torch.load(file, weights_only=True) for file in files)
    for name, value in first.items():
        if "running_" not in name:  # statistics of later processes are the first's from the next step on
            assert all(torch.equal(value, other[name]) for other in others), name


def _assert_went_on(job: _Job) -> None:
    """Not from the beginning, which would end with the same weights."""
    text = job.output.read_text()
    assert int(job.state["Restarts"]) >= 1
    assert "is queued again and goes on by itself" in text
    assert "Restored all states" in text


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_requeued_job_ends_as_one_that_was_left_alone(slurm: LocalSlurm, tasks: int, tmp_path: Path) -> None:
    left_alone = _Job(slurm, tmp_path / "left_alone", tasks, 0.0).finish()
    job = _Job(slurm, tmp_path / "disturbed", tasks, 0.5)
    job.wait_for_steps(5)
    slurm.ask("scancel", "--batch", "--signal=USR1", job.number)
    disturbed = job.finish()
    _assert_went_on(job)
    _assert_equal(disturbed, left_alone, tasks)


def test_a_time_limit_requeues_by_itself(slurm: LocalSlurm, tmp_path: Path) -> None:
    """SLURM sends the signal up to a minute early: here between one and two minutes after the start."""
    left_alone = _Job(slurm, tmp_path / "left_alone", 1, 0.0).finish()
    job = _Job(slurm, tmp_path / "disturbed", 1, 4.0, "--time=3", "--signal=B:USR1@60")
    disturbed = job.finish()
    _assert_went_on(job)
    _assert_equal(disturbed, left_alone, 1)
