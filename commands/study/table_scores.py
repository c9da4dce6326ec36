"""What the runs of a study scored, read from the tables that their tests wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from ivif.callbacks.tables import SHARES
from ivif.callbacks.trained_pairs import OVERALL
from ivif.commands.errors import UsageError
from ivif.commands.report.tables import BLOCK, COLUMNS
from ivif.commands.study.record import StudyRun
from ivif.commands.study.same_settings import trained_alike
from ivif.commands.study.table_boxes import Run, StudyBoxes, gather_boxes
from ivif.files.inside import refuse_links_out
from ivif.files.table_files import read_table
from ivif.lightning_modules.efficiency import COLUMNS as COSTS
from ivif.metrics.registry import METRICS
from ivif.models.classic import CLASSIC_FUSIONS

RUN: Final = ("seed", "fold")
"""Columns of a score beside those of `report score`: which run of its row it is from."""

GROUP: Final = [*BLOCK, "method"]
"""Columns that a row of a summary is known by."""

PLAIN: Final = "plain"
"""Kind of a row that is a rule: the same in every run."""


@dataclass(frozen=True)
class StudyScores:
    """All scores of a study.

    Attributes:
        fusion: `COLUMNS` and `RUN`, a row for each value of a picture; `method` is the row of the study.
        boxes: The scores of boxes.
        costs: Row of the study -> what fusing a picture costs (`ivif.lightning_modules.efficiency.COLUMNS`).
        kinds: Row of the study -> run, folder or plain, in the order of the study, plain rows last.
        folders: Row of the study -> folders of the tests of its first run, which hold pictures.
        notes: A line for each run that has nothing in the tables.
        alike: A line for each set of rows that were trained with the same settings.
    """

    fusion: pd.DataFrame
    boxes: StudyBoxes
    costs: dict[str, dict[str, str]]
    kinds: dict[str, str]
    folders: dict[str, list[Path]]
    notes: list[str]
    alike: list[str]


def gather(study: Path, runs: Sequence[StudyRun]) -> StudyScores:
    """Reads the tables of all finished runs.

    Args:
        study: The study's folder.
        runs: Those of its record.

    Raises:
        UsageError: If nothing is finished, or a table is missing or damaged.
        OutsideFileError: If a link in the folder of a run leads out of it.
    """
    fusion, detection, notes = [], [], []
    costs: dict[str, dict[str, str]] = {}
    kinds: dict[str, str] = {}
    folders: dict[str, list[Path]] = {}
    of_boxes: dict[Run, list[Path]] = {}
    for run in runs:
        if run.state != "finished":
            fold = "" if run.fold is None else f", fold {run.fold}"
            notes.append(f"{run.row}, seed {run.seed}{fold}: {run.state}{f', {run.problem}' if run.problem else ''}")
            continue
        kinds.setdefault(run.row, run.kind)
        folders.setdefault(run.row, [(study / place).parent for place in run.tables])
        for place in run.tables:
            tables = _Tables(study / place, run)
            fusion.append(tables.fusion())
            detection.append(tables.detection())
            if len(detection[-1]):
                of_boxes.setdefault((run.row, run.seed), []).append(study / place)
            costs.setdefault(run.row, tables.costs())
    if not fusion:
        raise UsageError(f"No run of '{study}' is finished and tested. Run the study first.")
    scores = pd.concat(fusion, ignore_index=True)
    # every test scores the plain rules: once is enough
    places = [*COLUMNS[:4], "dataset", *RUN]
    scores = scores.drop_duplicates(places, ignore_index=True)
    kinds |= {str(name): PLAIN for name in scores["method"].unique() if name not in kinds}
    in_order = list(kinds)
    scores = scores.sort_values("method", key=lambda names: names.map(in_order.index), kind="stable", ignore_index=True)
    costs = {row: own for row, own in costs.items() if own}
    boxes = gather_boxes(pd.concat(detection, ignore_index=True), of_boxes)
    return StudyScores(scores, boxes, costs, kinds, folders, notes, trained_alike(study, runs))


def with_overall(fusion: pd.DataFrame) -> pd.DataFrame:
    """Values of pictures with all datasets as one more, as `summarise` adds it."""
    several = fusion["dataset"].nunique() > 1
    return pd.concat([fusion, fusion.assign(dataset=OVERALL)]) if several else fusion


@dataclass(frozen=True)
class _Tables:
    """The tables of one test."""

    folder: Path
    run: StudyRun

    def __post_init__(self) -> None:
        """Refuses a run whose tables or pictures lie elsewhere.

        Raises:
            OutsideFileError: If something in the run's folder is a link out of it.
        """
        refuse_links_out(self.folder.parent)

    def fusion(self) -> pd.DataFrame:
        """The value of each picture: of the run, and of the plain rules beside it."""
        if (self.folder / "per_image.csv").is_file():  # of `report score`
            scores = self._read("per_image.csv")
        else:
            wide, summary = self._read("test_per_image.csv"), self._read("test.csv")
            names = [name for name in wide.columns if name in METRICS]
            places = ["method", "name", "dataset", "width", "height"]
            scores = wide.melt(places, names, "metric", "value").assign(convention=str(summary["convention"].iloc[0]))
        others = scores["method"].isin(list(CLASSIC_FUSIONS)) & (self.run.kind != PLAIN)
        named = scores["method"].where(others, self.run.row)
        seed = pd.Series(self.run.seed, scores.index).where(~others, 0)
        return scores.assign(method=named, seed=seed, fold=self._fold)[[*COLUMNS, *RUN]]

    def detection(self) -> pd.DataFrame:
        """The scores of each class, no row where nothing was detected."""
        columns = ["dataset", "method", "class", *SHARES, "images"]
        found = self._read("detection.csv") if (self.folder / "detection.csv").is_file() else pd.DataFrame()
        return found.reindex(columns=columns).assign(method=self.run.row, seed=self.run.seed, fold=self._fold)

    def costs(self) -> dict[str, str]:
        """What fusing a picture costs, where the test measured it."""
        path = self.folder / "test.csv"
        first = self._read(path.name).iloc[0] if path.is_file() else pd.Series()
        return {name: str(first[name]) for name in COSTS if name in first}

    @property
    def _fold(self) -> int:
        return -1 if self.run.fold is None else self.run.fold

    def _read(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        try:
            return read_table(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"'{path}' of {self.run.row} cannot be read: {error}. Test this run again.") from error
