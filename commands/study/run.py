"""`ivif study run`: everything of a study that is not done yet, several runs at a time."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivif.commands.errors import UsageError
from ivif.commands.study.execute import Execution
from ivif.commands.study.folds import write_folds
from ivif.commands.study.grid import read_study
from ivif.commands.study.pool import Pool
from ivif.commands.study.record import StudyRun, write_record
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.files.text_output import cell


def study_run(
    study: str,
    folder: Path,
    root: Path,
    jobs: int,
    dry_run: bool,
    options: Sequence[str] = (),
    measure: bool = False,
) -> int:
    """Runs what is left of a study; a failed run never stops the others.

    Args:
        study: Its YAML file.
        folder: The folder of all studies.
        root: The folder of the data.
        jobs: How many runs at a time.
        dry_run: Only list the runs.
        options: Options of every fit, `KEY=VALUE`, which win over those of the file.
        measure: In a dry run, train a few steps for the time that all take.

    Returns:
        0; 1 if a run failed; 75 if one was stopped, and can go on.

    Raises:
        UsageError: If the study's file is wrong, its folder is in use, or a run was begun with other settings.
    """
    if measure and not dry_run:
        raise UsageError("--measure belongs to --dry_run: without it the runs themselves show their time.")
    place, executions = opened(study, folder, root, options)
    console = Console()
    if dry_run:
        _list(console, executions, measure)
        return 0
    lock_run_folder(place, "study", "--studies_dir")
    try:
        write_folds_of(place, executions)
        runs = _Runs(place, executions)
        Pool(runs, jobs, console).run()
    finally:
        unlock_folder(place)
    return _report(console, place, executions, runs.records)


def study_cell(study: str, folder: Path, root: Path, options: Sequence[str], name: str) -> int:
    """Runs one run of a study, beside processes that run others; it holds its own folder alone.

    Args:
        study: The study's YAML file.
        folder: The folder of all studies.
        root: The folder of the data.
        options: As those of `study_run`.
        name: Of the run.

    Returns:
        As `study_run`.

    Raises:
        UsageError: As `study_run`; if there is no such run.
    """
    place, executions = opened(study, folder, root, options)
    chosen = [each for each in executions if each.run.name == name]
    if not chosen:
        known = ", ".join(each.run.name for each in executions)
        raise UsageError(f"--cell {name}: the study has no such run. It has {known}.")
    write_folds_of(place, chosen)
    runs, console = _Runs(place, chosen, alone=True), Console()
    Pool(runs, 1, console).run()
    return _report(console, place, chosen, runs.records)


def opened(study: str, folder: Path, root: Path, options: Sequence[str]) -> tuple[Path, list[Execution]]:
    """The folder of a study, and its runs as far as they came.

    Raises:
        UsageError: If the study's file is wrong, or a run was begun with other settings.
    """
    name, runs = read_study(study, root, options)
    place = (folder / name).absolute()
    return place, [Execution(place, run) for run in runs]


def write_folds_of(place: Path, executions: Sequence[Execution]) -> None:
    """Writes the folds that runs need, as far as they are not there."""
    for division in dict.fromkeys(each.run.division for each in executions if each.run.division):
        write_folds(place, division)


class _Runs:
    """The runs of a study, each after the one that it begins from; its record is written whenever one has ended.

    Args:
        place: The study's folder.
        executions: Its runs, or one of them.
        alone: Whether it is one beside others, of which the record of the study is written by nobody at the moment.
    """

    def __init__(self, place: Path, executions: Sequence[Execution], alone: bool = False) -> None:
        self.place, self.executions, self.alone = place, executions, alone
        self.records = {each.run.name: each.record() for each in executions}
        self.left = [each for each in executions if not each.finished()]
        self._write()

    def next(self, running: Sequence[Execution]) -> Execution | None:
        """The first that is left, and begins from none that is."""
        busy = {each.run.name for each in (*self.left, *running)}
        ready = next((each for each in self.left if each.run.after not in busy), None)
        if ready is not None:
            self.left.remove(ready)
        return ready

    def ended(self, execution: Execution, record: StudyRun) -> None:
        """Notes it."""
        self.records[execution.run.name] = record
        self._write()

    def table(self) -> Table:
        """All of them."""
        return _table(self.executions)

    def _write(self) -> None:
        if not self.alone:
            write_record(self.place, list(self.records.values()))


def _list(console: Console, executions: Sequence[Execution], measures: bool) -> None:
    """Shows all runs with what they take, and their options."""
    from ivif.commands.study.cost import costs  # brings Lightning

    found = costs([each.run for each in executions], measures)
    console.print(_table(executions))
    for run in [each.run for each in executions]:
        taken = f" ({found[run.name]})" if run.name in found else ""
        console.print(cell(f"{run.name}{taken}: {' '.join(run.arguments)}"), soft_wrap=True, highlight=False)


def _table(executions: Sequence[Execution]) -> Table:
    table = Table("run", "seed", "data", "tests", "state", title=time.strftime("study, %H:%M:%S"))
    for each in executions:
        state = "finished" if each.finished() else each.doing
        done = f"{len(each.progress.get('tests', {}))} of {len(each.run.tests)}"
        table.add_row(cell(each.run.name), str(each.run.seed), cell(each.run.data), done, cell(state))
    return table


def _report(console: Console, place: Path, executions: Sequence[Execution], records: dict[str, StudyRun]) -> int:
    """Says how the study ended, and names what failed."""
    states = [record.state for record in records.values()]
    console.print(cell(f"Study: {place}: {states.count('finished')} of {len(states)} runs finished"), soft_wrap=True)
    for each in executions:
        record = records[each.run.name]
        if record.state in ("failed", "stopped"):
            text = f"{record.state}: {each.run.name}: {record.problem}"
            console.print(cell(text), style="red", soft_wrap=True, highlight=False)
    if "failed" in states:
        return 1
    return 0 if states.count("finished") == len(states) else 75
