"""Stopping and continuing runs: what a run begins from, and what it says when it was asked to stop."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ivif.callbacks.run_log import cut_log
from ivif.callbacks.stop_requests import RunStoppedError
from ivif.commands.errors import UsageError
from ivif.commands.program import program
from ivif.commands.train.cluster import launched_job
from ivif.contracts.run_files import LAST
from ivif.files.whole import remove_partial_files
from ivif.running.internals import STEPS_KEY, cluster_environment

EXIT_STOPPED: Final = 75
"""Exit code of a run that was asked to stop, has saved, and can go on (EX_TEMPFAIL of sysexits.h: try again)."""


def checkpoint_to_resume(folder: Path, given: str | None) -> str | None:
    """The checkpoint that training begins from, None for a beginning.

    `last` is the newest one in the run folder. A job of SLURM or torchrun that starts again goes on from there by
    itself, whatever it began from.

    Args:
        folder: The run folder, new or that of an earlier start of the same job.
        given: `--ckpt_path`.
    """
    last = folder / LAST
    if last.is_file() and (given == "last" or launched_job() is not None):
        return str(last)
    return None if given == "last" else given


def tidy_run_folder(folder: Path, checkpoint: str | None) -> None:
    """Removes what the run will write again: half-written files, and rows of steps that the checkpoint lacks.

    Args:
        folder: The run folder, held by this process.
        checkpoint: What training begins from; None for a beginning.

    Raises:
        UsageError: If the log cannot be rewritten.
    """
    begins_here = checkpoint is not None and Path(checkpoint).resolve().is_relative_to(folder.resolve())
    try:
        remove_partial_files(folder)
        removed = cut_log(folder, _logged_steps(Path(checkpoint)) if begins_here and checkpoint else 0)
    except OSError as error:
        raise UsageError(f"Cannot write in the run folder '{folder}': {error}.") from error
    if removed:
        print(f"{removed} rows of metrics.csv came after the checkpoint and will be made again.")


def report_stop(stopped: RunStoppedError, folder: Path, trainer: Trainer) -> int:
    """Says how to go on, and puts a cluster job that was signalled to back into the queue; returns the exit code.

    Only the first process has a code of its own: launchers kill it, while it may still be finishing its loggers, when
    another process ends with anything but 0.
    """
    if not trainer.is_global_zero:
        return 0
    saved = f"Saved: {stopped.checkpoint}" if stopped.checkpoint else "Nothing had been trained yet."
    print(f"{stopped} {saved}", file=sys.stderr)
    if _requeue_job(stopped.reason, trainer):
        print(f"Job {_job_id()} is queued again and goes on by itself.", file=sys.stderr)
    elif stopped.checkpoint:
        print(f"Go on with: {program()} fit --resume {folder}", file=sys.stderr)
    return EXIT_STOPPED


def _logged_steps(checkpoint: Path) -> int:
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return int(stored.get(STEPS_KEY, stored.get("global_step", 0)))


def _requeue_job(reason: str, trainer: Trainer) -> bool:
    """`scontrol requeue`, where a SLURM job got the signal that asks for it; whether it worked."""
    environment = cluster_environment(trainer)
    wanted, signalled = True, "SIGUSR1"
    if isinstance(environment, SLURMEnvironment):
        wanted = environment.auto_requeue
        signalled = environment.requeue_signal.name if environment.requeue_signal else signalled
    job = _job_id()
    if not wanted or job is None or reason != signalled:
        return False
    try:
        done = subprocess.run(  # noqa: S603 - SLURM's own program, no shell; the id is SLURM's
            ["scontrol", "requeue", job],  # noqa: S607 - where SLURM lies differs between clusters
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"Job {job} cannot be queued again: {error}.", file=sys.stderr)
        return False
    if done.returncode:
        print(f"Job {job} cannot be queued again: {done.stderr.strip()}", file=sys.stderr)
    return done.returncode == 0


def _job_id() -> str | None:
    """The job's id as `scontrol` takes it, that of the task for an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")
