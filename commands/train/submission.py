"""`predict --submit FILE.yaml`: the shards of a folder as jobs of a cluster, by submitit."""

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.callbacks.prediction_shards import Shard, ShardError, begun_shards, is_done
from ivif.commands.errors import UsageError
from ivif.commands.program import merge_line
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


@dataclass(frozen=True)
class Submission:
    """What a file of `--submit` says.

    Args:
        shards: How many.
        cluster: `slurm`, or, to try it, `local` (processes of this machine) and `debug` (one after the other).
        resources: What submitit is told of each job.
    """

    shards: int
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
        raise UsageError(f"{where}: give `shards: NUMBER` and what each job needs, such as `timeout_min: 240`.")
    known = ("shards", "cluster", *_NUMBERS, *_TEXTS)
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{where}: '{printable(key)}' is none of {', '.join(known)}.")
        number = isinstance(value, int | float) and not isinstance(value, bool) and value >= (key != "gpus_per_node")
        text = isinstance(value, str) and _PLAIN.fullmatch(value)
        if not (text if key in ("cluster", *_TEXTS) else number):
            raise UsageError(f"{where}: {key} is '{printable(value)}'; give a {'name' if key in _TEXTS else 'number'}.")
    shards, cluster = content.pop("shards", 0), content.pop("cluster", "slurm")
    if not isinstance(shards, int) or not 1 <= shards <= _MOST_SHARDS:
        raise UsageError(f"{where}: it needs `shards`, a number from 1 to {_MOST_SHARDS}.")
    if cluster not in _CLUSTERS:
        raise UsageError(f"{where}: cluster is '{cluster}'; it can be {', '.join(_CLUSTERS)}.")
    return Submission(shards, cluster, content)


@dataclass(frozen=True)
class ShardJob:
    """One shard, as submitit runs it; after its time limit it is queued again and goes on.

    Args:
        arguments: The command line.
    """

    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Runs it.

        Raises:
            RuntimeError: If it ends with an error, which the job's log has.
        """
        command = [sys.executable, "-m", "ivif", *self.arguments]
        if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - this program itself
            raise RuntimeError(f"{self.arguments[-1]} ended with exit code {code}")

    def checkpoint(self) -> Any:
        """What submitit queues again before the time limit: the same, which skips what is there."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(arguments: Sequence[str], path: Path, output: Path, logs: Path) -> None:
    """Submits the shards that are not done; of a cluster it does not wait for them.

    Args:
        arguments: The command line of `predict`.
        path: The file of `--submit`.
        output: The folder that all shards write into.
        logs: Where folders of the jobs' logs go.

    Raises:
        UsageError: If the file is wrong, submitit is not installed, or the jobs are refused.
        ShardError: If the folder has shards of another number, or a job that was waited for failed.
    """
    given = read_submission(path)
    if other := next((one for one in begun_shards(output) if one.count != given.shards), None):
        raise ShardError(f"--submit {path}: shards is {given.shards}, and '{output}' has shards of {other.count}.")
    left = [Shard(index, given.shards) for index in range(1, given.shards + 1)]
    left = [shard for shard in left if not is_done(shard, output)]
    joined = merge_line(output)
    if not left:
        print(f"All {given.shards} shards are done: {joined}")
        return
    folder = logs / "submitted" / time.strftime("%Y%m%d-%H%M%S")
    line = _without_option(arguments, "--submit")
    jobs = _jobs(given, [ShardJob((*line, f"--shard={shard}")) for shard in left], folder, str(path))
    print(f"{len(left)} of {given.shards} shards are submitted: {jobs[0].job_id}, ... Logs: {folder}", flush=True)
    if given.cluster != "slurm":
        failed = [shard for shard, job in zip(left, jobs, strict=True) if job.exception() is not None]
        if failed:
            raise ShardError(f"{len(failed)} shards failed, the first is {failed[0]}: see the logs in {folder}.")
    print(f"When they are done: {joined}. The same command submits again what is not.")


def _without_option(arguments: Sequence[str], option: str) -> list[str]:
    kept = [word for word in arguments if not word.startswith(f"{option}=")]
    while option in kept:
        del kept[kept.index(option) : kept.index(option) + 2]
    return kept


def _jobs(given: Submission, jobs: Sequence[ShardJob], folder: Path, file: str) -> Sequence[Any]:
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as error:
        raise UsageError("--submit needs submitit: pip install 'ivif-lightning[cluster]'.") from error
    try:
        executor = submitit.AutoExecutor(folder, cluster=given.cluster, slurm_max_num_timeout=_OFTEN)
        executor.update_parameters(name="ivif-shard", **given.resources)
        with executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (RuntimeError, OSError, FailedJobError, FailedSubmissionError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UsageError(f"--submit {printable(file)}: the jobs were refused: {lines[-1].strip()}") from error
    return submitted
