"""The record of a study, `study.json` in its folder: what was to be run, where it lies, and how far it came."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ivif.commands.errors import UsageError
from ivif.files.inside import read_inside
from ivif.files.whole import write_whole

RECORD: Final = "study.json"

PROGRESS: Final = "progress.json"
"""In the folder of a run: how far it came."""

OWN: Final = "record"
"""In that file: the run's own entry as it ended last, whoever ran it; a task of a cluster writes no `study.json`."""

State = Literal["waiting", "stopped", "failed", "finished"]
Kind = Literal["run", "folder", "plain"]


@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a row of its tables with one seed, in one fold.

    Attributes:
        row: What tables call it; runs of one row differ in seed and fold alone.
        kind: `run`: trained here; `folder`: pictures of a foreign method; `plain`: a rule without weights.
        config: The files behind `--config`, in their order.
        overrides: Further options of the command line.
        data: The file of the data that it is trained on.
        seed: Its seed; 0 where nothing is drawn.
        fold: Which fold is its test part, from 0; None without folds.
        folder: Its run folder, relative to the study's; empty before it began.
        tables: Folders with the tables of its tests, relative to the study's, one for each test set and convention.
        state: How far it came.
        problem: Why it failed, in a line.
        name: Its folder in that of the study; empty in records of before.
    """

    row: str
    kind: Kind
    config: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    data: str = ""
    seed: int = 0
    fold: int | None = None
    folder: str = ""
    tables: tuple[str, ...] = ()
    state: State = "waiting"
    problem: str = ""
    name: str = ""


def write_record(study: Path, runs: Sequence[StudyRun]) -> None:
    """Writes the record of a study's folder anew.

    Raises:
        OSError: If it cannot be written.
    """
    write_whole(study / RECORD, json.dumps({"runs": [asdict(run) for run in runs]}, indent=1) + "\n")


def read_record(study: Path) -> list[StudyRun]:
    """The runs of a study, from its folder.

    Raises:
        UsageError: If there is no record, or it is damaged or a link out of the folder.
    """
    path = study / RECORD
    if not path.is_file():
        raise UsageError(f"'{path}' is missing: nothing of this study was run. Start it with `study run`.")
    try:
        runs = [_run(entry) for entry in json.loads(read_inside(path, study))["runs"]]
        return [_newest(run, study) for run in runs]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"'{path}' is no record of a study: {error}. Remove it, and run the study again.") from error


def _newest(run: StudyRun, study: Path) -> StudyRun:
    """The run's own entry, where it has one."""
    path = study / run.name / PROGRESS
    if not run.name or not path.is_file():
        return run
    own = json.loads(read_inside(path, study)).get(OWN)
    return run if own is None else _run(own)


def _run(entry: dict[str, Any]) -> StudyRun:
    known = {each.name for each in fields(StudyRun)}
    if surplus := entry.keys() - known:
        raise ValueError(f"unknown {', '.join(sorted(surplus))}")
    lists = {name: tuple(map(str, entry.get(name, ()))) for name in ("config", "overrides", "tables")}
    run = StudyRun(**(entry | lists))
    if run.kind not in get_args(Kind) or run.state not in get_args(State):
        raise ValueError(f"{run.row}: kind '{run.kind}', state '{run.state}'")
    return run
