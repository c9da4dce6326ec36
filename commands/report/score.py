"""`ivif report score`: folders of fused images that anyone made, against their source pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from ivif.commands.errors import UsageError
from ivif.commands.report.files import refuse_others
from ivif.commands.report.score_inputs import ScoreInputs
from ivif.commands.report.scored_files import collect, collect_stage
from ivif.commands.report.scoring import Scoring
from ivif.commands.report.tables import COLUMNS, FILES, show_means, write_tables
from ivif.commands.report.trained import marked, methods_of
from ivif.files.pictures import MAX_PIXELS
from ivif.files.text_output import cell
from ivif.machine.devices import choose_device
from ivif.metrics.conventions import check_names, suite

if TYPE_CHECKING:
    from ivif.datamodules.base import FusionDataModule  # with Lightning, which only pairs of a dataset need

MOST_SHOWN = 5
"""Problems that are printed where nothing could be scored, so that no report holds them."""


@dataclass(frozen=True)
class Sources:
    """Where the pairs come from: two folders, or a stage of a dataset.

    Attributes:
        infrared: Folder of infrared images, or one.
        visible: Folder of visible images, grey or colour, or one; colour is scored by its luma.
        data: A dataset, instead of the folders.
        stage: Which of its pairs: train, val, test (the default) or all.
        pair: Regular expression whose first group in a file's stem names the pair; the stem by default.
        max_pixels: Most pixels of a picture.
    """

    infrared: Path | None = None
    visible: Path | None = None
    data: "FusionDataModule | None" = None
    stage: str | None = None
    pair: str | None = None
    max_pixels: int = MAX_PIXELS

    @property
    def part(self) -> str:
        """Which part of a dataset is scored, in brackets; nothing for folders."""
        return f" (stage {self.stage or 'test'}, manifest {self.data.manifest.name})" if self.data is not None else ""

    def collect(self, fused: Sequence[Path]) -> ScoreInputs:
        """All pairs, with the files of the methods' folders.

        Raises:
            UsageError: If there is no pair, or it is not said where they are.
        """
        folders = [folder for folder in (self.infrared, self.visible) if folder is not None]
        if self.data is not None and not folders:
            self.data.prompts = None  # scores need no words, and their file may be elsewhere
            return collect_stage(self.data.stage_readers(self.stage or "test"), fused, self.pair, self.max_pixels)
        if self.data is not None or len(folders) < 2 or self.stage is not None:
            where = "either --infrared DIR and --visible DIR, or --data DATASET, of which --stage takes a part"
            raise UsageError(f"Say where the pairs are: {where}.")
        return collect(folders[0], folders[1], fused, self.pair, self.max_pixels)


def score(
    sources: Sources,
    fused: Sequence[Path],
    convention: Sequence[str] = ("standard",),
    metrics: Sequence[str] | None = None,
    out: Path = Path("runs/report"),
    classic: bool = True,
    every_pair: bool = False,
    device: str = "cpu",
    overwrite: bool = False,
    checkpoints: Sequence[Path] = (),
) -> int:
    """Scores every folder of fused images, prints the means, and writes tables and a figure into `out`.

    Files are per_image.csv (a row per method, pair, convention and metric), summary.csv, summary.md, summary.tex and
    figure.png. Whatever has no partner, another size, or cannot be read is counted on the terminal and named in
    summary.md. A folder of which nothing can be scored is left out of the tables, and makes the exit code 1.

    Args:
        sources: The pairs.
        fused: One folder per method.
        convention: Names of conventions.
        metrics: Names of metrics; each convention's own by default.
        out: Folder for the results.
        classic: Whether to add the rows average, maximum, Laplacian pyramid and contourlet.
        every_pair: Score each method on all pairs that it has; by default on those that all methods have.
        device: Where to compute.
        overwrite: Whether other files of these names may be replaced.
        checkpoints: The weights behind folders, so that their rows say how many of the pairs these were trained on.

    Returns:
        The exit code: 1 if a method is not in the tables, else 0.

    Raises:
        UsageError: If a folder is missing, a name is unknown, there is nothing to score, or other files have the names
            of the results.
    """
    try:
        names = {known: check_names(metrics or suite(known).names) for known in dict.fromkeys(convention)}
    except ValueError as error:
        raise UsageError(str(error)) from error
    refuse_others([out / name for name in FILES], overwrite)
    device = str(choose_device(device))
    inputs = sources.collect(fused)
    trained = methods_of(checkpoints, dict(zip(inputs.methods, fused, strict=True)))
    total = len(inputs.pairs)
    scoring = Scoring(inputs, names, classic, device, every_pair)
    with Progress(transient=True) as progress:
        rows = scoring.run(progress)
    console, problems = Console(), list(inputs.problems)
    if not rows:
        _show(console, problems[:MOST_SHOWN])
        raise UsageError("\n".join([f"Nothing of {', '.join(inputs.methods)} could be scored.", *_not_scored(scoring)]))
    rows = marked(rows, trained, inputs)
    counted, not_scored = _counted(scoring, f"{total} pairs{sources.part}", total), _not_scored(scoring)
    summary = write_tables(pd.DataFrame(rows, columns=list(COLUMNS)), [counted, *not_scored], problems, out)
    named = f"{inputs.problems.summary()}; '{out / 'summary.md'}' names each"
    _show(console, [named] if len(inputs.problems) > 1 else problems)
    show_means(summary, console)
    console.print(cell(counted), soft_wrap=True, highlight=False)
    console.print(cell(f"Tables and figure: {out}"), soft_wrap=True, highlight=False)
    for line in not_scored:
        console.print(cell(line), style="red", soft_wrap=True, highlight=False)
    return int(bool(not_scored))


def _show(console: Console, problems: Sequence[str]) -> None:
    for problem in problems:
        console.print(cell(f"warning: {problem}"), style="yellow", soft_wrap=True, highlight=False)


def _counted(scoring: Scoring, pairs: str, total: int) -> str:
    """Which of a `total` of pairs the tables are over, in a sentence."""
    usable = len(scoring.inputs.pairs)
    lacking = {method: usable - len(scoring.usable[method]) for method in scoring.compared()}
    missing = ", ".join(f"{count} for {method}" for method, count in lacking.items() if count)
    broken = f"; {total - usable} cannot be used" if usable < total else ""
    text = f"Scored: {len(scoring.counted())} of {pairs}"
    if missing and scoring.every_pair:
        return f"{text}, each method on those that it has{broken}; missing are {missing}, whose means have no rank."
    if missing:
        remedy = "--pairs all scores each method on what it has"
        return f"{text}, those that all methods have{broken}; missing are {missing} ({remedy})."
    return f"{text}{broken}."


def _not_scored(scoring: Scoring) -> list[str]:
    """A line for each method that is not in the tables."""
    left_out = [method for method in scoring.usable if method not in scoring.compared()]
    return [f"NOT SCORED: {method}: {_why(scoring, method)}" for method in left_out]


def _why(scoring: Scoring, method: str) -> str:
    if scoring.usable[method]:
        return "it has no pair that the others have; score it alone, or with --pairs all."
    reason = scoring.inputs.unusable.get(method) or next(iter(scoring.inputs.problems), "")
    count = len(scoring.inputs.methods[method])
    return f"none of its {count} pictures of these pairs can be used: {reason}" if count else reason
