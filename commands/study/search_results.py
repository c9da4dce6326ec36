"""What a search has found: its trials as a table, best first, and the settings of the best one as a file for `fit`."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rich.table import Table

from ivif.commands.study.search_file import Search
from ivif.contracts.run_files import CONFIG
from ivif.files.inside import read_inside
from ivif.files.text_output import cell, quoted
from ivif.files.text_tables import TextTable, mark_best
from ivif.files.whole import write_whole

TABLE: Final = "trials"
"""Stem of the table's files."""

BEST: Final = "best.yaml"

TrialState = Literal["finished", "pruned", "diverged", "failed", "stopped", "waiting", "running"]

_ORDER: Final = ("finished", "pruned", "diverged", "failed", "stopped", "waiting", "running")
_PLACES: Final = re.compile(r"^(runs_dir|run_name):.*\n(?:[ \t].*\n)*", re.MULTILINE)
_FEWEST: Final = 10
"""Finished trials of which the weight of settings is told."""


@dataclass(frozen=True)
class Row:
    """A trial in the table.

    Attributes:
        number: Which.
        state: How it ended, or how far it is.
        score: Its score at its last validation; NaN before the first.
        steps: Training steps until then.
        values: Option -> what was drawn.
        note: Why it ended early, in a line.
    """

    number: int
    state: TrialState
    score: float = math.nan
    steps: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def in_rank(rows: Sequence[Row], mode: str) -> list[Row]:
    """Best first; what was pruned behind what has finished, the longest trained first."""

    def place(row: Row) -> tuple[float, ...]:
        score = math.inf if math.isnan(row.score) else -row.score if mode == "max" else row.score
        trained = 0 if row.state == "finished" else -row.steps
        return (_ORDER.index(row.state), trained, score, row.number)

    return sorted(rows, key=place)


def results_table(search: Search, rows: Sequence[Row]) -> TextTable:
    """The table of all trials, as people read it."""
    ranked = in_rank(rows, search.rules.mode)
    scores = [row.score if row.state == "finished" else math.nan for row in ranked]
    shown = ["-" if math.isnan(row.score) else f"{row.score:.4f}" for row in ranked]
    marked = mark_best(shown, scores, search.rules.mode == "max")
    direction = "↑" if search.rules.mode == "max" else "↓"
    cells = [
        [str(row.number), row.state, text, str(row.steps), *(_text(row.values.get(name)) for name in search.ranges)]
        for row, text in zip(ranked, marked, strict=True)
    ]
    columns = ["trial", "state", f"{search.rules.score} {direction}", "steps", *search.ranges]
    return TextTable(columns, cells, f"{search.name}: {_counts(rows)}", heads=2)


def live_table(search: Search, rows: Sequence[Row]) -> Table:
    """How far the trials are, for the terminal, by their numbers."""
    table = Table(title=f"{len(rows)} of {search.trials} trials")
    for column in ("trial", "state", search.rules.score, "steps"):
        table.add_column(cell(column))
    for row in sorted(rows, key=lambda row: row.number):
        score = "-" if math.isnan(row.score) else f"{row.score:.4f}"
        table.add_row(str(row.number), row.state, score, str(row.steps))
    return table


def write_results(place: Path, search: Search, rows: Sequence[Row], weights: Mapping[str, float]) -> None:
    """Writes `trials.md` and `trials.csv`, each complete or as before.

    Args:
        place: The folder of the search.
        search: What was searched.
        rows: Its trials.
        weights: Option -> how much of the differences it explains; empty where that is not known.

    Raises:
        OSError: If a file cannot be written.
    """
    rules = search.rules
    said = [
        f"`{search.name}`: {_counts(rows)}; sampler {rules.sampler}, pruner {rules.pruner}, seed {rules.seed}. The "
        f"score is that of a trial's last validation, after so many steps; the test pairs were not looked at.",
        results_table(search, rows).markdown(),
        *(f"- trial {row.number} {row.state}: {row.note}" for row in rows if row.note),
    ]
    if weights:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in weights.items())
        said.append(f"Share of each setting in the differences of the finished trials (PED-ANOVA): {shares}.")
    write_whole(place / f"{TABLE}.md", "\n\n".join(said) + "\n")
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", "score", "steps", *search.ranges])
    for row in in_rank(rows, rules.mode):
        values = [quoted(row.values.get(name)) for name in search.ranges]
        writer.writerow([row.number, row.state, "" if math.isnan(row.score) else row.score, row.steps, *values])
    write_whole(place / f"{TABLE}.csv", stream.getvalue())


def write_best(place: Path, search: Search, best: Row, run_folder: Path) -> Path:
    """Writes `best.yaml`: the whole configuration of the best trial, without the folder that it ran in.

    Args:
        place: The folder of the search.
        search: What was searched.
        best: The trial.
        run_folder: That of its fit.

    Raises:
        OSError: If a file cannot be read or written.
        OutsideFileError: If the run's configuration is a link out of the folder.
    """
    text = read_inside(run_folder / CONFIG, place).decode()
    head = (
        f"# The best of the search {search.name}, trial {best.number}: {search.rules.score} {best.score:.6g} after "
        f"{best.steps} steps.\n# fit --config with this file repeats it.\n"
    )
    write_whole(place / BEST, f"{head}run_name: {search.name}-best\n{_PLACES.sub('', text)}")
    return place / BEST


def weights_of(study: Any) -> dict[str, float]:
    """How much of the differences between finished trials each setting explains; empty for too few of them."""
    import optuna

    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < _FEWEST or len({trial.value for trial in finished}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _counts(rows: Sequence[Row]) -> str:
    states = [row.state for row in rows]
    return f"{len(rows)} trials, " + ", ".join(f"{states.count(one)} {one}" for one in _ORDER if one in states)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
