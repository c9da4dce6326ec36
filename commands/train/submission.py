"""`predict --submit FILE.yaml`: the shards of a folder as jobs of a cluster."""

from collections.abc import Sequence
from pathlib import Path

from ivif.callbacks.prediction_shards import Shard, ShardError, begun_shards, is_done
from ivif.commands.cluster_jobs import (
    CommandJob,
    failures_of,
    folder_of_logs,
    read_submission,
    submit_jobs,
    without_option,
)
from ivif.commands.errors import UsageError
from ivif.commands.program import merge_line
from ivif.files.names import printable


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
    if given.shards is None:
        raise UsageError(f"--submit {printable(path)}: it needs `shards`, how many parts the pictures are made in.")
    if other := next((one for one in begun_shards(output) if one.count != given.shards), None):
        raise ShardError(f"--submit {path}: shards is {given.shards}, and '{output}' has shards of {other.count}.")
    left = [Shard(index, given.shards) for index in range(1, given.shards + 1)]
    left = [shard for shard in left if not is_done(shard, output)]
    joined = merge_line(output)
    if not left:
        print(f"All {given.shards} shards are done: {joined}")
        return
    folder, line = folder_of_logs(logs), without_option(arguments, "--submit")
    jobs = submit_jobs(given, [CommandJob((*line, f"--shard={shard}")) for shard in left], "ivif-shard", folder, path)
    print(f"{len(left)} of {given.shards} shards are submitted: {jobs[0].job_id}, ... Logs: {folder}", flush=True)
    if failed := failures_of(given, jobs):
        raise ShardError(f"{len(failed)} shards failed, the first is {left[failed[0]]}: see the logs in {folder}.")
    print(f"When they are done: {joined}. The same command submits again what is not.")
