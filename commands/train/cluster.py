"""What a run that is asked to stop, or ends, tells SLURM."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ivif.callbacks.stop_requests import RunStoppedError
from ivif.commands.program import program
from ivif.running.internals import cluster_environment

EXIT_STOPPED: Final = 75
"""Exit code of a run that was asked to stop, has saved, and can go on (EX_TEMPFAIL of sysexits.h: try again)."""


@contextmanager
def without_own_requeue(trainer: Trainer) -> Iterator[None]:
    """Keeps Lightning's automatic requeue from SLURM's signals, for as long as the trainer works.

    It saves in the middle of a step, and a validation that is saved and queued again begins anew all the same. What the
    user chose of it, `auto_requeue` of a SLURMEnvironment, is there again afterwards, for our own requeue.
    """
    environment = cluster_environment(trainer)
    if not isinstance(environment, SLURMEnvironment):
        yield
        return
    chosen, environment.auto_requeue = environment.auto_requeue, False
    try:
        yield
    finally:
        environment.auto_requeue = chosen


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
        print(f"Go on with: {program()} fit --resume {shlex.quote(str(folder))}", file=sys.stderr)
    return EXIT_STOPPED


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
