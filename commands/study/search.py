"""`ivif study search`: trials of a search that are not done yet, drawn, run and compared; the same command goes on."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from ivif.callbacks.trial_report import TRIAL_VARIABLE
from ivif.callbacks.trials import DIVERGED, PRUNED, STEPS, Trials
from ivif.commands.errors import UsageError
from ivif.commands.study.execute import Execution
from ivif.commands.study.pool import Pool
from ivif.commands.study.record import StudyRun
from ivif.commands.study.search_file import Search, read_search, trial_name
from ivif.commands.study.search_results import (
    Row,
    TrialState,
    in_rank,
    live_table,
    results_table,
    weights_of,
    write_best,
    write_results,
)
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.files.text_output import cell
from ivif.files.whole import remove_empty

if TYPE_CHECKING:
    import optuna

_MOST_FAILURES: Final = 3
"""After so many failed trials none is begun; after one already, as long as none has ended well."""


def study_search(
    search: str,
    folder: Path,
    root: Path,
    jobs: int,
    options: Sequence[str] = (),
    trials: int | None = None,
) -> int:
    """Runs what is left of a search.

    Args:
        search: Its YAML file.
        folder: The folder of all searches.
        root: The folder of the data.
        jobs: How many trials at a time.
        options: Options of every fit, `KEY=VALUE`, which win over those of the file.
        trials: How many trials, instead of the file's number.

    Returns:
        0; 1 if a trial failed; 75 if one was stopped, and can go on.

    Raises:
        UsageError: If the file is wrong, its folder is in use, or the search was begun with other settings.
        SearchRecordError: If the record of the trials is damaged.
    """
    found = read_search(search, root, options, trials)
    place = (folder / found.name).absolute()
    console = Console()
    made = lock_run_folder(place, "search", "--searches_dir")
    try:
        source = SearchTrials(place, found)
        Pool(source, jobs, console).run()
    finally:
        unlock_folder(place)
        remove_empty(made)
    return _report(console, source)


class SearchTrials:
    """The trials of a search as runs of a pool.

    Args:
        place: The folder of the search, which this process holds.
        search: What is searched.

    Raises:
        UsageError: If it was begun with other settings.
        SearchRecordError: If its record is damaged.
    """

    def __init__(self, place: Path, search: Search) -> None:
        self.place, self.search = place, search
        self.trials = Trials(place, search.rules)
        if self.trials.rules.digest != search.rules.digest:
            raise UsageError(
                f"{search.name}: its file, options or configurations have changed since it was begun in '{place}'. "
                f"Give the file another name, or remove that folder to search anew. (The number of trials may change.)"
            )
        known = len(self.trials.study.get_trials(deepcopy=False))
        for values in search.begin[known:]:
            self.trials.study.enqueue_trial(dict(values))
        self.executions = {trial.number: self._execution(trial) for trial in self.trials.all()}
        self.ends: dict[int, StudyRun] = {}
        for trial in self.trials.all():  # what a kill has left between its end and the note of it
            if not trial.state.is_finished() and self._has_ended(trial):
                self._conclude(trial.number, self.executions[trial.number].record())
        self.write()

    def next(self, running: Sequence[Execution]) -> Execution | None:
        """A trial that is to go on, else a new one."""
        busy = {each.run.name for each in running}
        failures = sum(record.state == "failed" for record in self.ends.values())
        begun = self.trials.all()
        well = any(trial.state.is_finished() for trial in begun)
        if failures >= (_MOST_FAILURES if well else 1):
            return None
        for trial in begun:
            idle = not trial.state.is_finished() and trial.number not in self.ends
            if idle and trial_name(trial.number) not in busy:
                return self.executions[trial.number]
        if len(begun) >= self.search.trials:
            return None
        number = self.trials.study.ask().number
        self.executions[number] = self._execution(self.trials.study.get_trials(deepcopy=False)[number])
        return self.executions[number]

    def ended(self, execution: Execution, record: StudyRun) -> None:
        """Notes the trial's score, or that it was pruned, and writes the results anew."""
        number = next(number for number, each in self.executions.items() if each is execution)
        self._conclude(number, record)
        self.write()

    def table(self) -> Table:
        """How far all are."""
        return live_table(self.search, self.rows())

    def rows(self) -> list[Row]:
        """All trials that were begun."""
        return [self._row(trial) for trial in self.trials.all()]

    def write(self) -> None:
        """Writes the table, and the best trial's settings."""
        rows = self.rows()
        if not rows:
            return
        write_results(self.place, self.search, rows, weights_of(self.trials.study))
        best = in_rank(rows, self.search.rules.mode)[0]
        trained = self.executions[best.number].progress.get("trained")
        if best.state == "finished" and trained is not None:  # else somebody has removed its run
            write_best(self.place, self.search, best, self.place / trained)

    def _execution(self, trial: "optuna.trial.FrozenTrial") -> Execution:
        """The run of a trial, whose settings are drawn if that has not been done."""
        drawn: Mapping[str, Any] = trial.params
        if len(drawn) < len(self.search.ranges):
            drawn = self._draw(trial.number)
        environment = {TRIAL_VARIABLE: f"{trial.number}:{self.place}"}
        return Execution(self.place, self.search.planned(trial.number, drawn), environment=environment)

    def _draw(self, number: int) -> dict[str, Any]:
        self.trials.study.sampler = self.search.rules.build_sampler(number)
        trial = self.trials.trial(number)
        for option, own in self.search.ranges.items():
            if own.kind == "choices":
                trial.suggest_categorical(option, own.choices)
            elif own.kind == "int":
                trial.suggest_int(option, int(own.low), int(own.high), step=int(own.step or 1), log=own.log)
            else:
                trial.suggest_float(option, own.low, own.high, step=own.step, log=own.log)
        return dict(trial.params)

    def _has_ended(self, trial: "optuna.trial.FrozenTrial") -> bool:
        noted = {PRUNED, DIVERGED} & trial.user_attrs.keys()
        return bool(noted) or self.executions[trial.number].finished()

    def _conclude(self, number: int, record: StudyRun) -> None:
        """Tells the record of the search how a trial ended; what can go on, or be tried again, stays open there."""
        from optuna.trial import TrialState

        trial = self.trials.study.get_trials(deepcopy=False)[number]
        steps = trial.user_attrs.get(STEPS, [])
        score = trial.intermediate_values.get(len(steps))
        if {PRUNED, DIVERGED} & trial.user_attrs.keys():
            self.trials.study.tell(number, state=TrialState.PRUNED)
        elif record.state != "finished":
            self.ends[number] = record
        elif score is not None:
            self.trials.study.tell(number, score)
        elif steps:
            text = f"{self.search.rules.score} of its last validation is no number."
            self.trials.trial(number).set_user_attr(DIVERGED, text)
            self.trials.study.tell(number, state=TrialState.PRUNED)
        else:
            self.ends[number] = StudyRun(**(vars(record) | {"state": "failed", "problem": self._unvalidated()}))

    def _unvalidated(self) -> str:
        return (
            "it has trained to its end without a validation, and has no score. Let it validate: "
            "trainer.val_check_interval, trainer.check_val_every_n_epoch, trainer.max_steps"
        )

    def _row(self, trial: "optuna.trial.FrozenTrial") -> Row:
        steps: Sequence[int] = trial.user_attrs.get(STEPS, [])
        score = trial.intermediate_values.get(trial.last_step or 0, math.nan)
        note = ""
        state: TrialState = "finished"
        if DIVERGED in trial.user_attrs:
            state, note = "diverged", str(trial.user_attrs[DIVERGED])
        elif PRUNED in trial.user_attrs:
            state = "pruned"
        elif trial.number in self.ends:
            end = self.ends[trial.number]
            state, note = ("failed" if end.state == "failed" else "stopped"), end.problem
        elif not trial.state.is_finished():
            state = "waiting" if self.executions[trial.number].doing == "waiting" else "running"
        return Row(trial.number, state, score, steps[-1] if steps else 0, trial.params, note)


def _report(console: Console, source: SearchTrials) -> int:
    """Shows the table and says how the search ended."""
    search, rows = source.search, source.rows()
    results_table(search, rows).show(console)
    states = [row.state for row in rows]
    ended = sum(state in ("finished", "pruned", "diverged") for state in states)
    console.print(cell(f"Search: {source.place}: {ended} of {search.trials} trials ended"), soft_wrap=True)
    if "finished" in states:
        console.print(cell(f"Best settings: {source.place / 'best.yaml'}"), soft_wrap=True)
    for row in rows:
        if row.state in ("failed", "stopped"):
            text = f"{row.state}: {trial_name(row.number)}: {row.note}"
            console.print(cell(text), style="red", soft_wrap=True, highlight=False)
    if "failed" in states:
        return 1
    return 0 if ended >= search.trials else 75
