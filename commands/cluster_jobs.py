"""Commands of this program as jobs of a cluster, by submitit: shards of a prediction, runs of a study."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.errors import UsageError
from ivif.files.names import printable
from ivif.files.plain_yaml import PlainYamlError, load_plain

_CLUSTERS: Final = ("slurm", "local", "debug")
_NUMBERS: Final = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "slurm_array_parallelism")
_TEXTS: Final = ("slurm_partition", "slurm_qos", "slurm_account", "slurm_constraint", "slurm_gres")
"""What a file may say of jobs. Those of submitit that put lines of a shell into the job are not among them."""

_PLAIN: Final = re.compile(r"[\w.,:&|*-]{1,200}", re.ASCII)
_MOST_SHARDS: Final = 100_000
_OFTEN: Final = 1000
"""How many times a job may meet its time limit and go on."""

_GRACE: Final = 60.0
"""Seconds for a command to save before its job is queued again; submitit asks 90 before the time limit."""

_COMMANDS: Final[list[subprocess.Popen[bytes]]] = []
"""What this process runs as a job; the job itself is pickled, and cannot hold it."""


@dataclass(frozen=True)
class Submission:
    """What a file of `--submit` says.

    Args:
        shards: How many parts a prediction has; None where the file does not say.
        cluster: `slurm`, or, to try it, `local` (processes of this machine) and `debug` (one after the other).
        resources: What submitit is told of each job.
    """

    shards: int | None
    cluster: str
    resources: Mapping[str, int | float | str]


def read_submission(path: Path) -> Submission:
    """Reads such a file.

    Raises:
        UsageError: Names what is wrong in it.
    """
    where = f"--submit {printable(path)}"
    try:
        content = load_plain(path)
    except (OSError, PlainYamlError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: it cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{where}: give what each job needs, such as `timeout_min: 240`; predict needs `shards` too.")
    known = ("shards", "cluster", *_NUMBERS, *_TEXTS)
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{where}: '{printable(key)}' is none of {', '.join(known)}.")
        number = isinstance(value, int | float) and not isinstance(value, bool) and value >= (key != "gpus_per_node")
        text = isinstance(value, str) and _PLAIN.fullmatch(value)
        if not (text if key in ("cluster", *_TEXTS) else number):
            raise UsageError(f"{where}: {key} is '{printable(value)}'; give a {'name' if key in _TEXTS else 'number'}.")
    shards, cluster = content.pop("shards", None), content.pop("cluster", "slurm")
    if shards is not None and (not isinstance(shards, int) or shards > _MOST_SHARDS):
        raise UsageError(f"{where}: `shards` is {shards}; it must be a whole number from 1 to {_MOST_SHARDS}.")
    if cluster not in _CLUSTERS:
        raise UsageError(f"{where}: cluster is '{cluster}'; it can be {', '.join(_CLUSTERS)}.")
    return Submission(shards, cluster, content)


@dataclass(frozen=True)
class CommandJob:
    """A command line, as submitit runs it; after its time limit it is queued again and goes on.

    Args:
        arguments: The command line.
    """

    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Runs it.

        Raises:
            RuntimeError: If it ends with an error, which the job's log has.
        """
        process = subprocess.Popen([sys.executable, "-m", "ivif", *self.arguments])  # noqa: S603 - this program itself
        _COMMANDS.append(process)
        while process.poll() is None:  # not wait(), whose lock `checkpoint` would meet: it is called by a signal
            time.sleep(0.1)
        _COMMANDS.remove(process)
        if process.returncode:
            raise RuntimeError(f"{self.arguments[-1]} ended with exit code {process.returncode}")

    def checkpoint(self) -> Any:
        """What submitit queues again before the time limit: the same, which skips what is there.

        What runs here is asked to save first: a training may have come far since its last checkpoint.
        """
        from submitit.helpers import DelayedSubmission

        for process in _COMMANDS:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE
        while any(process.poll() is None for process in _COMMANDS) and time.monotonic() < until:
            time.sleep(0.1)
        return DelayedSubmission(self)


def submit_jobs(given: Submission, jobs: Sequence[CommandJob], name: str, logs: Path, file: Path) -> Sequence[Any]:
    """Submits jobs as one array.

    Args:
        given: What the file says.
        jobs: At least one.
        name: What the cluster calls the array.
        logs: Folder of the jobs' logs.
        file: The file, for messages.

    Raises:
        UsageError: If submitit is not installed, or the jobs are refused.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as error:
        raise UsageError("--submit needs submitit: pip install 'ivif-lightning[cluster]'.") from error
    try:
        executor = submitit.AutoExecutor(logs, cluster=given.cluster, slurm_max_num_timeout=_OFTEN)
        executor.update_parameters(name=name, **given.resources)
        with executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (RuntimeError, OSError, FailedJobError, FailedSubmissionError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UsageError(f"--submit {printable(file)}: the jobs were refused: {lines[-1].strip()}") from error
    return submitted


def failures_of(given: Submission, submitted: Sequence[Any]) -> list[int]:
    """Waits for jobs of this machine, and says which of them failed; those of a cluster are not waited for."""
    if given.cluster == "slurm":
        return []
    return [index for index, job in enumerate(submitted) if job.exception() is not None]


def folder_of_logs(runs: Path) -> Path:
    """A new folder for the logs of an array."""
    return runs / "submitted" / time.strftime("%Y%m%d-%H%M%S")


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """A command line without an option and its value."""
    kept = [word for word in arguments if not word.startswith(f"{option}=")]
    while option in kept:
        del kept[kept.index(option) : kept.index(option) + 2]
    return kept
