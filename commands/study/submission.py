"""`study run --submit FILE.yaml`: the runs of a study as jobs of a cluster, a task of an array each."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ivif.commands.cluster_jobs import (
    CommandJob,
    Submission,
    failures_of,
    folder_of_logs,
    read_submission,
    submit_jobs,
    without_option,
)
from ivif.commands.errors import UsageError
from ivif.commands.program import program
from ivif.commands.study.execute import Execution
from ivif.commands.study.record import write_record
from ivif.commands.study.run import opened, write_folds_of
from ivif.commands.train.run_folder import lock_run_folder, refuse_held, unlock_folder


def study_submit(
    study: str, folder: Path, root: Path, options: Sequence[str], path: Path, arguments: Sequence[str]
) -> int:
    """Submits the runs of a study that are neither finished nor under way; of a cluster it does not wait for them.

    Args:
        study: The study's YAML file.
        folder: The folder of all studies.
        root: The folder of the data.
        options: As those of `study_run`.
        path: The file of `--submit`.
        arguments: The command line of `study`.

    Returns:
        The exit code.

    Raises:
        UsageError: If a file is wrong, submitit is not installed, the jobs are refused, or one that was waited for
            failed.
    """
    given = read_submission(path)
    place, executions = opened(study, folder, root, options)
    lock_run_folder(place, "study", "--studies_dir")
    try:
        write_folds_of(place, executions)
        write_record(place, [each.record() for each in executions])
    finally:
        unlock_folder(place)
    line = ["study", *without_option(arguments, "--submit")]
    return _submit(given, line, path, executions, place)


def _submit(given: Submission, line: Sequence[str], path: Path, executions: Sequence[Execution], place: Path) -> int:
    trained = {each.run.name for each in executions if "trained" in each.progress}
    left = [each for each in executions if not each.finished()]
    held = [each for each in left if _is_held(each.folder)]
    waiting = [each for each in left if each.run.after and each.run.after not in trained]
    ready = [each for each in left if each not in held and each not in waiting]
    if not left:
        print(f"All {len(executions)} runs are finished: {program()} study table {shlex.quote(str(place))}")
        return 0
    folder = folder_of_logs(place.parent)
    if ready:
        tasks = [CommandJob((*line, f"--cell={each.run.name}")) for each in ready]
        jobs = submit_jobs(given, tasks, "ivif-study", folder, path)
        many = f"{len(ready)} of {len(executions)} runs are submitted"
        print(f"{many}: {jobs[0].job_id}, ... Logs: {folder}", flush=True)
        if failed := failures_of(given, jobs):
            first = ready[failed[0]].run.name
            raise UsageError(f"{len(failed)} runs failed, the first is {first}: see '{place / first}' and {folder}.")
    if held:
        print(f"{len(held)} are under way: {', '.join(each.run.name for each in held)}")
    if waiting:
        print(f"{len(waiting)} begin from a run that is not trained yet: give the command again when it is.")
    print("The same command submits again what is not done.")
    return 0


def _is_held(folder: Path) -> bool:
    """Whether another process runs it, here or, as far as its folder says, elsewhere."""
    try:
        refuse_held(folder)
    except UsageError:
        return True
    return False
